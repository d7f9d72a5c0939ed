"""The page as a process, and Chromium to look at it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torchserve_saliency_cli.files import command

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield Chromium; raise LookupError if it is not installed."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    if found is None:
        raise LookupError("Chromium is not installed")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def running_page(*words: str) -> Iterator[str]:
    """Yield the address of a page with these arguments, as a process of its own; end it by its id."""
    with subprocess.Popen([*command("page"), "--port", "0", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise LookupError("the page did not start")
            yield line.rpartition(" ")[2].strip()
        finally:
            process.terminate()
            process.wait(30)

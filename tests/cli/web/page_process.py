"""The page as a process of its own, started and stopped as a user does it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class PageProcess:
    """A page: the line that it has printed, its address, and, after its end, the text of its standard error."""

    line: str
    errors: str = ""

    @property
    def url(self) -> str:
        return self.line.rpartition(" ")[2].strip()


@contextmanager
def page_process(*words: str, port: int = 0) -> Iterator[PageProcess]:
    """Yield the page with these arguments as soon as it answers; interrupt it by its id, as Ctrl-C does, and wait."""
    command = [sys.executable, str(ROOT / "scripts" / "page.py"), "--port", str(port), *words]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        page = PageProcess("")
        try:
            assert process.stdout is not None
            page.line = process.stdout.readline()
            yield page
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            errors.seek(0)
            page.errors = errors.read()
            assert page.line, f"the page did not start:\n{page.errors}"

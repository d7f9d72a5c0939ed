"""Fixtures for the tests of the page: a browser, the page in front of the live TorchServe, and visits of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.web.page_process import page_process
from tests.cli.web.small_torchserve import SmallTorchServe, small_torchserve
from torchserve_saliency_cli.leaves.labelled_folder import draw_labelled
from torchserve_saliency_cli.torchserve.server import TorchServe

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.cli.web.visit import PageServer, Visit

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


class SkippedModule(pytest.Module):
    """A module of tests that imports Playwright, which is not installed."""

    def collect(self) -> Iterable[pytest.Item]:
        pytest.skip("the test needs Playwright, which is not installed", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip the modules that import Playwright if it is not installed."""
    if find_spec("playwright") is None and _imports_playwright(module_path):
        return SkippedModule.from_parent(parent, path=module_path)
    return None


def _imports_playwright(module: Path) -> bool:
    return re.search(r"^(from|import) playwright\b", module.read_text(encoding="utf-8"), re.MULTILINE) is not None


@pytest.fixture
def torchserve() -> Iterator[SmallTorchServe]:
    """Yield a small server with fixed answers in place of TorchServe."""
    with small_torchserve() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield Chromium; skip the test if it is not installed.

    It ends with its module: as long as Playwright runs, no test of this process can run an event loop of its own.
    """
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("the test needs Chromium, which is not installed")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def page_server(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Yield the page in front of the live TorchServe, with samples of drawn leaves; it writes no error."""
    from tests.cli.web.visit import PageServer

    samples = tmp_path_factory.mktemp("samples")
    draw_labelled(samples)
    key_file = str(server.folder / "key_file.json")
    addresses = ("--url", server.url, "--management-url", server.management_url)
    with page_process(*addresses, "--samples", str(samples), "--key-file", key_file) as process:
        yield PageServer(process.url, server, samples)
    assert process.errors == ""


@pytest.fixture
def new_visit(browser: Browser, page_server: PageServer) -> Iterator[Callable[..., Visit]]:
    """Yield a function that returns a visit in a fresh context; no visit may end with an error of the page.

    Its arguments are the width of the window, `dark`, and the address of another page.
    """
    from tests.cli.web.visit import Visit

    visits: list[Visit] = []

    def create(width: int = 1280, dark: bool = False, url: str = page_server.url) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(20_000)
        visits.append(Visit(context.new_page(), url))
        return visits[-1]

    yield create
    for visit in visits:
        visit.page.context.close()
    for visit in visits:
        visit.check()


@pytest.fixture
def visit(new_visit: Callable[..., Visit]) -> Visit:
    """Return a visit in a fresh context."""
    return new_visit()

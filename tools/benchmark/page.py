"""The section page: the page in Chromium, from nothing to its first map, and from a click on a picture to its map."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tools.benchmark import measurements as named
from tools.benchmark.latency import SERVED
from tools.benchmark.measurements import Figure
from tools.benchmark.plan import Bench, FigureMaker
from tools.benchmark.timing import time_runs
from tools.browser import chromium, running_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHOWN = 20_000.0  # milliseconds until a map must be there
FIRST_MAP = "page, from a click on a picture to its map"
# seconds from a click on a sample until the page has no request under way
CLICK = """async (name) => {
  const status = document.getElementById("status");
  const start = performance.now();
  document.querySelector(`button[data-id="sample:${name}"]`).click();
  await new Promise((resolve) => new MutationObserver((_, watch) => {
    if (status.textContent.endsWith("done")) { watch.disconnect(); resolve(); }
  }).observe(status, { childList: true, characterData: true, subtree: true }));
  return (performance.now() - start) / 1000;
}"""
# bytes of the page and of all files that it has loaded, without what it asked about pictures and models
SIZE = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name }) => !name.includes("/api/")).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""


def page(bench: Bench) -> Iterator[Figure]:
    """Yield the times of the page, beside those of the served explanation alone, and the size of its files."""
    assert bench.served is not None
    maker, model, served = FigureMaker("page", bench.name), bench.served.models[1], bench.served
    with tempfile.TemporaryDirectory() as folder:
        for name in ("one", "two"):
            (Path(folder) / f"{name}{bench.plan.picture.suffix}").write_bytes(bench.data)
        names = [path.name for path in sorted(Path(folder).iterdir())]
        addresses = ("--url", served.server.url, "--management-url", served.server.management_url)
        with running_page(*addresses, "--samples", folder) as url, chromium() as browser:
            link = f"{url}#model={model}&picture=sample:{names[0]}&card=gradient"
            visitor = browser.new_page()
            visitor.goto(link)
            wait_for_map(visitor)
            size = float(visitor.evaluate(SIZE))
            turns = iter(range(10**6))
            runs = {
                SERVED: served.request_run(f"/explanations/{model}", bench.data),
                FIRST_MAP: lambda: float(visitor.evaluate(CLICK, names[(next(turns) + 1) % 2])),
                named.PAGE: lambda: opening(browser, link),
            }
            seconds = time_runs(runs, bench.plan.rounds)
    yield from maker.ratios(seconds, {named.PAGE_MAP: (FIRST_MAP, SERVED)})
    yield from maker.times(seconds)
    yield maker.figure(named.PAGE_FILES, "bytes", (size,))


def opening(browser: Browser, link: str) -> float:
    """Return the seconds from the opening of a link, in a fresh context, until its map is there."""
    context = browser.new_context()
    visitor = context.new_page()
    start = time.perf_counter()
    visitor.goto(link)
    wait_for_map(visitor)
    seconds = time.perf_counter() - start
    context.close()
    return seconds


def wait_for_map(visitor: object) -> None:
    """Return when a page has no request under way."""
    from playwright.sync_api import Page, expect

    assert isinstance(visitor, Page)
    expect(visitor.get_by_role("status")).to_have_text(re.compile("^1 map.*done$"), timeout=SHOWN)

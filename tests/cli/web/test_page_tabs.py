"""Several pages at the same time, and answers that arrive in another order than they were asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Route, expect

from tests.cli.web.visit import Visit, nearly_same

Visitor = Callable[..., Visit]


def first_two(visit: Visit) -> dict[str, NDArray[np.float32]]:
    return dict(list(visit.arrays().items())[:2])


def test_two_tabs_do_not_disturb_each_other(visit: Visit) -> None:
    visit.open("gradient", "grad_cam")
    before = visit.arrays()
    other = Visit(visit.page.context.new_page(), visit.url)
    other.open("gradient", "smooth_grad?samples=4", picture="sample:scab/1.png", **{"class": "scab"})
    visit.add("deep_lift")
    other.choose("Class", "healthy")
    visit.done()
    assert len(visit.pixels()) == 3
    assert nearly_same(first_two(visit), before)
    expect(other.map("gradient")).to_have_attribute("aria-label", re.compile("^gradient for healthy"))
    visit.page.reload()
    visit.done()
    assert nearly_same(first_two(visit), before)
    other.check()


def test_two_links_lie_side_by_side(visit: Visit, new_visit: Visitor) -> None:
    visit.open("gradient")
    visit.choose("Class", "scab")
    history = visit.page.get_by_role("region", name="History")
    for tick in history.get_by_role("checkbox").all():
        tick.check()
    history.get_by_role("link", name="Compare the two side by side").click()
    names: set[str] = set()
    for side in ("left", "right"):
        image = visit.page.frame_locator(f"#{side}-frame").locator("canvas[role=img]")
        expect(image).to_have_attribute("aria-label", re.compile("^gradient for (rust|scab),"), timeout=60_000)
        names.add((image.get_attribute("aria-label") or "").split(",")[0])
    assert names == {"gradient for rust", "gradient for scab"}


def test_pasted_links_are_compared_and_anything_else_is_an_empty_page(visit: Visit) -> None:
    visit.open("grad_cam", **{"class": "healthy"})
    link = visit.page.url
    visit.page.goto(f"{visit.url}compare")
    visit.page.get_by_label("Left link").fill(link)
    visit.page.get_by_label("Left link").press("Tab")
    image = visit.page.frame_locator("#left-frame").get_by_role("img", name=re.compile("^grad_cam for healthy"))
    expect(image).to_be_visible(timeout=60_000)
    visit.page.get_by_label("Right link").fill("https://evil.example/")
    visit.page.get_by_label("Right link").press("Tab")
    visit.page.goto(f"{visit.url}compare#{urlencode({'left': 'javascript:alert(1)', 'right': '#%'})}")
    status = visit.page.frame_locator("#right-frame").get_by_role("status")
    expect(status).to_have_text(re.compile("done$"), timeout=60_000)


def test_the_last_picture_wins(visit: Visit) -> None:
    """The answers for the first of two pictures are held back until those for the second are there."""
    visit.open()
    visit.page.get_by_role("button", name="black_rot/1.png").click()
    visit.done()
    expected = visit.page.get_by_role("list", name="Predictions").inner_text()
    held: list[Route] = []

    def hold(route: Route) -> None:
        if "rust" in (route.request.post_data or route.request.url):
            held.append(route)
        else:
            route.continue_()

    visit.page.route(re.compile("api/(explanations|pictures)/.*"), hold)
    visit.page.get_by_role("button", name="rust/1.png").click()
    visit.page.get_by_role("button", name="black_rot/1.png").click()
    expect(visit.page.get_by_role("list", name="Predictions")).to_contain_text("black rot")
    for route in held:
        route.continue_()
    visit.done()
    assert held
    assert visit.page.get_by_role("list", name="Predictions").inner_text() == expected
    assert "black_rot" in visit.fragment
    expect(visit.page.get_by_role("button", name="black_rot/1.png")).to_have_attribute("aria-pressed", "true")


def test_the_last_class_wins(visit: Visit) -> None:
    visit.open("gradient", "smooth_grad")
    for label in ("rust", "scab", "healthy"):
        visit.combobox("Class").fill(label)
    visit.done()
    for method in ("gradient", "smooth_grad"):
        expect(visit.map(method)).to_have_attribute("aria-label", re.compile(f"^{method} for healthy"))
    assert "class=healthy" in visit.fragment

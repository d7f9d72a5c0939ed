"""The page for everybody: no fault that axe finds, no overflow on a narrow screen, and everything by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.cli.web.visit import SAMPLE, Visit

Visitor = Callable[..., Visit]
LEVELS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
NARROW = 390
WAYS = [(1280, False), (1280, True), (NARROW, False), (NARROW, True)]


def faults(visit: Visit) -> list[str]:
    """Return the faults that axe finds, each with the elements that have it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the test needs axe-playwright-python")
    found: dict[str, Any] = axe.Axe().run(visit.page, options=LEVELS).response
    return [f"{fault['id']}: {[node['html'][:200] for node in fault['nodes']]}" for fault in found["violations"]]


def overflow(visit: Visit) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize(("width", "dark"), WAYS)
def test_three_cards_have_no_fault(new_visit: Visitor, width: int, dark: bool) -> None:
    visit = new_visit(width, dark)
    visit.open("gradient?reduce=sum", "grad_cam", "integrated_gradients?steps=3", quality="1")
    for card in visit.page.locator(".card").all():
        for summary in card.locator("summary").all():
            summary.click()
    visit.map("grad_cam").focus()
    visit.page.keyboard.press("ArrowLeft")
    assert len(visit.pixels()) == 3
    assert faults(visit) == []
    assert overflow(visit) <= 0


@pytest.mark.parametrize(("width", "dark"), WAYS)
def test_errors_have_no_fault(new_visit: Visitor, width: int, dark: bool) -> None:
    visit = new_visit(width, dark)
    visit.open("gardient", "integrated_gradients?steps=0", "rise", opacity="nonsense")
    visit.choose("Class", "rost")
    visit.upload({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    assert len(visit.alerts()) >= 3
    assert faults(visit) == []
    assert overflow(visit) <= 0


def test_a_long_name_does_not_widen_the_page(new_visit: Visitor) -> None:
    visit = new_visit(NARROW)
    visit.open("grad_cam_plus_plus", "x" * 90, file="y" * 90 + ".png", **{"class": "z" * 90})
    assert overflow(visit) <= 0


def test_the_comparison_has_no_fault(visit: Visit) -> None:
    visit.page.goto(f"{visit.url}compare")
    assert faults(visit) == []


def press(visit: Visit, *keys: str) -> None:
    for key in keys:
        visit.page.keyboard.press(key)


def focused(visit: Visit) -> str:
    """Return the accessible name of the element that has the focus, as far as this page uses names."""
    script = """() => {
        const one = document.activeElement;
        const label = one.labels?.length ? one.labels[0].textContent : "";
        return one.getAttribute("aria-label") ?? (label || one.title || one.textContent);
    }"""
    return str(visit.page.evaluate(script))


def tab_to(visit: Visit, name: str, key: str = "Tab") -> None:
    """Press a key until the element with a name has the focus."""
    for _ in range(120):
        press(visit, key)
        if re.search(name, focused(visit)):
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def test_a_walk_by_keyboard_alone(visit: Visit) -> None:
    visit.open("gradient", picture="sample:black_rot/1.png")
    tab_to(visit, f"^{re.escape(SAMPLE)}$")
    press(visit, "Enter")
    visit.done()
    assert f"picture=sample%3A{SAMPLE.replace('/', '%2F')}" in visit.fragment
    tab_to(visit, "^Class$")
    visit.page.keyboard.type("scab")
    press(visit, "Tab")
    visit.done()
    expect(visit.map("gradient")).to_have_attribute("aria-label", re.compile("^gradient for scab"))
    tab_to(visit, "^Add a method$", "Shift+Tab") if focused(visit) != "Against" else tab_to(visit, "^Add a method$")
    press(visit, "ArrowDown", "ArrowDown", "Enter")
    visit.done()
    expect(visit.map("gradient_x_input")).to_be_visible()
    expect(visit.page.locator(".card")).to_have_count(2)
    tab_to(visit, "^gradient_x_input for scab")
    press(visit, "ArrowRight", "ArrowDown", "Shift+ArrowRight")
    expect(visit.card("gradient_x_input").get_by_text(re.compile(r"^x 123, y 113: \S+$"))).to_be_visible()
    tab_to(visit, "^Remove$", "Shift+Tab")
    press(visit, "Enter")
    expect(visit.card("gradient_x_input")).to_have_count(0)
    visit.page.get_by_role("button", name="Copy link").focus()
    press(visit, "Enter")
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    assert visit.page.evaluate("navigator.clipboard.readText()") == visit.page.url


def test_the_focus_is_seen_and_the_maps_can_be_skipped_to(visit: Visit) -> None:
    visit.open("gradient")
    press(visit, "Tab")
    assert focused(visit) == "Skip to the maps"
    expect(visit.page.get_by_role("link", name="Skip to the maps")).to_be_in_viewport()
    press(visit, "Enter", "Tab")
    inside = "document.activeElement.closest('[aria-label=Answer]') !== null"
    assert visit.page.evaluate(inside)

"""The values on the page are those of TorchServe; how they are drawn is changed without asking it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator

from tests.cli.web.visit import PageServer, Visit

PLACES = [(4, 4), (219, 219), (112, 100), (17, 201), (150, 60)]
SHOWN = re.compile(r"x (\d+), y (\d+): (\S+)")


def readout(visit: Visit, method: str) -> tuple[int, int, float]:
    """Return the column, the row and the value that a card shows."""
    found = SHOWN.search(visit.card(method).inner_text())
    assert found is not None
    return int(found[1]), int(found[2]), float(found[3])


def point_at(canvas: Locator, x: int, y: int, size: int) -> None:
    """Move the pointer to the middle of a pixel of a map."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": (x + 0.5) / size * box["width"], "y": (y + 0.5) / size * box["height"]})


def same(value: float, exact: NDArray[np.float32], x: int, y: int) -> bool:
    """Tell whether a value is that of a map within a 255th of its range."""
    return bool(abs(value - float(exact[y, x])) <= float(np.ptp(exact)) / 255)


@pytest.mark.parametrize("method", ["gradient?reduce=sum", "grad_cam", "integrated_gradients?steps=4&baseline=black"])
def test_the_readout_is_the_value_of_the_server(visit: Visit, page_server: PageServer, method: str) -> None:
    name, _, query = method.partition("?")
    options = dict(part.split("=") for part in query.split("&") if part)
    exact = page_server.array(method=name, **options)[0]
    visit.open(method)
    for x, y in PLACES:
        point_at(visit.map(name), x, y, 224)
        column, row, value = readout(visit, name)
        assert (abs(column - x), abs(row - y)) <= (1, 1)
        assert same(value, exact, column, row)
    start, top, _ = readout(visit, name)
    visit.map(name).focus()
    for key, right, down in ("ArrowRight", 1, 0), ("ArrowUp", 1, -1), ("Shift+ArrowLeft", -9, -1):
        x, y = start + right, top + down
        visit.page.keyboard.press(key)
        column, row, value = readout(visit, name)
        assert (column, row) == (x, y)
        assert same(value, exact, x, y)
    for _ in range(30):
        visit.page.keyboard.press("Shift+ArrowDown")
    assert readout(visit, name)[1] == 223


def test_the_ends_of_the_scale_are_the_least_and_the_greatest_value(visit: Visit, page_server: PageServer) -> None:
    exact = page_server.array(method="gradient", reduce="sum")[0]
    visit.open("gradient?reduce=sum")
    name = visit.map("gradient").get_attribute("aria-label") or ""
    least, greatest = (float(text.rstrip(".")) for text in re.findall(r"from (\S+) to (\S+)\. ", name)[0])
    assert (least, greatest) == pytest.approx((exact.min(), exact.max()), rel=1e-3)
    ends = visit.card("gradient").locator(".ends span").all_text_contents()
    assert [float(text) for text in ends] == [least, greatest]


def test_each_channel_of_a_layer_is_a_tile_with_its_values(visit: Visit, page_server: PageServer) -> None:
    exact = page_server.array(method="feature_maps", channels=4)[0]
    visit.open("feature_maps?channels=4")
    size = 2 * exact.shape[-1]
    point_at(visit.map("feature_maps"), exact.shape[-1] + 3, exact.shape[-1] + 5, size)
    text = visit.card("feature_maps").inner_text()
    assert "channel 3, x 3, y 5: " in text
    assert same(readout(visit, "feature_maps")[2], exact[3], 3, 5)


def test_opacity_and_colours_ask_nothing(visit: Visit) -> None:
    visit.open("gradient", "grad_cam")
    asked, before = len(visit.asked()), visit.pixels()
    slider = visit.page.get_by_role("slider", name="Opacity")
    slider.fill("0.2")
    faint = visit.pixels()
    slider.fill("0")
    plain = visit.pixels()
    assert len({str(found) for found in (before, faint, plain)}) == 3
    assert len({str(list(found)) for found in (before, faint, plain)}) == 1
    slider.fill("0.8")
    assert visit.pixels() == before
    visit.page.get_by_label("Colours").select_option("viridis")
    coloured = visit.pixels()
    visit.page.get_by_label("Smooth the maps").check()
    assert len({str(found) for found in (before, coloured, visit.pixels())}) == 3
    assert "colours=viridis" in visit.fragment
    assert len(visit.asked()) == asked


def test_a_tall_picture_is_drawn_under_its_map(visit: Visit, page_server: PageServer) -> None:
    visit.open("gradient")
    slider = visit.page.get_by_role("slider", name="Opacity")
    slider.fill("0")
    script = """canvas => {
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(data).size;
    }"""
    assert visit.map("gradient").evaluate(script) > 50

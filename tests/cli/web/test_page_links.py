"""A link is the state of the page: opened elsewhere, it gives the same maps to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.cli.web.visit import LEAVES, PageServer, Visit
from torchserve_saliency_cli.leaves.draw import draw

Visitor = Callable[..., Visit]
STATE = {"class": "scab", "against": "rust", "opacity": "0.55", "colours": "viridis"}


def reopened(visit: Visit, new_visit: Visitor) -> Visit:
    """Return a visit of another person who opens the link of a visit."""
    other = new_visit(url=visit.url)
    other.go(visit.fragment)
    return other


def photograph(folder: Path, seed: int = 5) -> Path:
    path = folder / f"my leaf {seed}.jpg"
    draw(seed, ["scab"]).image.resize((640, 427)).save(path, quality=90)
    return path


@pytest.mark.parametrize("card", ["gradient?reduce=sum", "grad_cam", "smooth_grad?samples=3", "gradient?reduce=none"])
def test_a_link_gives_the_same_map(visit: Visit, new_visit: Visitor, card: str) -> None:
    visit.open(card, **STATE)
    visit.page.get_by_label("Smooth the maps").check()
    assert len(visit.pixels()) == 1
    other = reopened(visit, new_visit)
    assert other.pixels() == visit.pixels()
    assert other.fragment == visit.fragment


def test_a_link_gives_the_same_page(visit: Visit, new_visit: Visitor) -> None:
    visit.open("gradient?reduce=sum", "grad_cam", "smooth_grad?samples=3", **STATE)
    other = reopened(visit, new_visit)
    assert len(other.pixels()) == 3
    assert other.pixels() == visit.pixels()
    assert other.fragment == visit.fragment
    assert other.combobox("Class").input_value() == "scab"
    assert other.combobox("Against").input_value() == "rust"
    assert other.page.get_by_role("slider", name="Opacity").input_value() == "0.55"


def test_a_link_with_a_costly_method_shows_its_picture_at_once(visit: Visit, new_visit: Visitor) -> None:
    visit.open(**{"class": "scab"})
    visit.explain("activation_maximization")
    assert len(visit.pixels()) == 1
    assert reopened(visit, new_visit).pixels() == visit.pixels()


def test_a_link_has_every_parameter_with_the_seed(visit: Visit) -> None:
    visit.open("smooth_grad")
    for part in ("samples%3D25", "noise%3D0.15", "seed%3D0", "score%3Dlogit", "reduce%3Dmax_abs"):
        assert part in visit.fragment


def test_the_link_of_an_uploaded_picture_gives_the_same_maps(visit: Visit, new_visit: Visitor, tmp_path: Path) -> None:
    visit.open("integrated_gradients?steps=3")
    before = visit.pixels()
    visit.upload(photograph(tmp_path))
    assert "picture=sha256%3A" in visit.fragment
    assert visit.pixels() != before
    assert reopened(visit, new_visit).pixels() == visit.pixels()


def test_a_picture_that_is_not_here_is_asked_for(visit: Visit, new_visit: Visitor, tmp_path: Path) -> None:
    right, wrong = photograph(tmp_path, 6), photograph(tmp_path, 7)
    visit.open("gradient")
    visit.upload(right)
    other = new_visit()
    other.page.route("**/api/pictures/sha256*", lambda route: route.fulfill(status=404, json={"message": "gone"}))
    other.page.route("**/api/explanations/**", lambda route: route.fulfill(status=404, json=NOT_HERE))
    other.go(visit.fragment)
    (problem,) = other.alerts()
    assert problem == "The picture of this link is not here. Choose “my leaf 6.jpg”, and the link works again."
    other.page.unroute_all()
    other.upload(wrong)
    assert "This is not the picture of the link" in other.alerts()[0]
    expect(other.map("gradient")).to_have_count(0)
    other.upload(right)
    assert other.alerts() == []
    assert other.pixels() == visit.pixels()


NOT_HERE = {"code": 404, "type": "PictureNotFoundException", "message": "the picture is not here", "option": "data"}


def test_another_picture_may_be_used_instead(visit: Visit, tmp_path: Path) -> None:
    visit.open("gradient", picture=f"sha256:{'0' * 64}", file="lost.png")
    assert "Choose “lost.png”" in visit.alerts()[0]
    visit.upload(photograph(tmp_path, 8))
    visit.page.get_by_role("button", name="Use it instead").click()
    expect(visit.map("gradient")).to_be_visible()
    visit.done()
    assert visit.alerts() == []


def test_copy_link_copies_the_address(visit: Visit, new_visit: Visitor) -> None:
    visit.open("gradient", **STATE)
    visit.page.get_by_role("button", name="Copy link").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied == visit.page.url
    other = new_visit()
    other.go(copied.partition("#")[2])
    assert other.pixels() == visit.pixels()


def test_back_and_forward_show_the_earlier_maps(visit: Visit) -> None:
    visit.open("gradient")
    first = visit.pixels()
    visit.choose("Class", "scab")
    second = visit.pixels()
    visit.page.go_back()
    expect(visit.combobox("Class")).not_to_have_value("scab")
    visit.done()
    assert visit.pixels() == first
    visit.page.go_forward()
    expect(visit.combobox("Class")).to_have_value("scab")
    visit.done()
    assert visit.pixels() == second


def test_the_history_of_the_session_is_a_list_of_links(visit: Visit) -> None:
    visit.open("gradient")
    visit.choose("Class", "scab")
    entries = visit.page.get_by_role("region", name="History").get_by_role("listitem")
    expect(entries).to_have_count(2)
    first = visit.pixels()
    entries.nth(1).get_by_role("link").click()
    expect(visit.combobox("Class")).not_to_have_value("scab")
    visit.done()
    assert visit.pixels() != first


def test_a_page_without_a_link_shows_a_map_at_once(visit: Visit, page_server: PageServer) -> None:
    visit.page.goto(page_server.url)
    visit.done()
    assert len(visit.pixels()) == 1
    assert "picture=sample%3A" in visit.fragment
    assert Image.open(page_server.samples / LEAVES["picture"].partition(":")[2]).size == (224, 224)

"""Errors of the server stand at the control that caused them; files and labels can be hostile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Route, expect

from tests.cli.web.visit import PageServer, Visit

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def problem_of(visit: Visit, control: Locator) -> str:
    """Return the alert that describes a control, which is marked as invalid."""
    expect(control).to_have_attribute("aria-invalid", "true")
    alert = visit.page.locator(f"id={control.get_attribute('aria-describedby')}")
    expect(alert).to_have_role("alert")
    return alert.inner_text()


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [("integrated_gradients", "steps", "0"), ("smooth_grad", "noise", "11"), ("smooth_grad", "noise", "-1")],
)
def test_a_400_stands_at_its_parameter(visit: Visit, method: str, name: str, value: str) -> None:
    visit.open(method, "gradient")
    control = visit.field(method, name)
    control.fill(value)
    control.press("Tab")
    visit.done()
    assert name in problem_of(visit, control)
    assert len(visit.alerts()) == 1
    expect(visit.map("gradient")).to_be_visible()
    control.fill("3")
    control.press("Tab")
    visit.done()
    assert visit.alerts() == []
    expect(visit.map(method)).to_be_visible()
    assert control.get_attribute("aria-invalid") is None


@pytest.mark.parametrize("name", ["Class", "Against"])
def test_a_422_stands_at_the_class(visit: Visit, name: str) -> None:
    visit.open("gradient")
    visit.choose(name, "rost")
    message = problem_of(visit, visit.combobox(name))
    assert message == "no class is named 'rost'; did you mean 'rust'?"
    visit.choose(name, "scab")
    assert visit.alerts() == []
    expect(visit.map("gradient")).to_be_visible()


def test_an_unknown_class_without_a_card_stands_there_too(visit: Visit) -> None:
    visit.open()
    visit.choose("Class", "rost")
    assert "did you mean 'rust'" in problem_of(visit, visit.combobox("Class"))


def large_png() -> bytes:
    """Return a PNG of 60 megapixels, of one bit each."""
    file = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("notes.txt", b"no picture at all", "the data is not a picture"),
        ("empty.png", b"", "the file is empty"),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "looks like SVG"),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "truncated"),
        ("large.png", None, "60,000,000 pixels, more than the limit of 50,000,000"),
    ],
)
@pytest.mark.parametrize("cards", [(), ("gradient", "grad_cam")])
def test_a_file_that_is_no_picture_is_a_sentence(
    visit: Visit, name: str, data: bytes | None, sentence: str, cards: tuple[str, ...]
) -> None:
    visit.open(*cards)
    visit.upload({"name": name, "mimeType": "image/png", "buffer": large_png() if data is None else data})
    assert sentence in problem_of(visit, visit.page.get_by_label("Picture", exact=True))
    assert len(visit.alerts()) == 1
    visit.page.get_by_role("button", name="rust/1.png").click()
    visit.done()
    assert visit.alerts() == []
    assert len(visit.pixels()) == len(cards)


def test_names_made_of_markup_are_shown_as_text(visit: Visit, page_server: PageServer) -> None:
    description = page_server.description()
    names = [MARKUP, f"{MARKUP}2", "&lt;b&gt;", '"><b>bold</b>']
    description["label_names"] = names
    description["heads"][0]["label_names"] = names
    description["methods"]["gradient"]["help"] = MARKUP
    visit.page.route("**/api/models/leaves/1.0", lambda route: route.fulfill(json=description))
    visit.page.on("dialog", lambda dialog: visit.errors.append(dialog.message))
    visit.open("gradient", f"{MARKUP}", file=MARKUP, **{"class": MARKUP})
    assert MARKUP in visit.card("gradient").inner_text()
    assert MARKUP in " ".join(visit.alerts())
    assert visit.page.locator("img[src=x], script:not([src]), b").count() == 0


def test_labels_of_the_server_made_of_markup_are_shown_as_text(visit: Visit) -> None:
    def inject(body: str) -> str:
        escaped = MARKUP.replace('"', '\\"')
        return body.replace('"rust"', f'"{escaped}"')

    def answer(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=inject(reply.text()))

    visit.page.route("**/api/**/leaves/1.0", answer)
    visit.open("gradient")
    assert visit.page.get_by_role("button", name=MARKUP).is_visible()
    assert MARKUP in (visit.map("gradient").get_attribute("aria-label") or "")
    visit.page.get_by_role("button", name=MARKUP).click()
    visit.done()
    assert visit.page.locator("img[src=x]").count() == 0


def test_a_file_name_made_of_markup_is_shown_as_text(visit: Visit, page_server: PageServer, tmp_path: Path) -> None:
    path = tmp_path / "<b>bold<b>.png"
    path.write_bytes((page_server.samples / "scab" / "1.png").read_bytes())
    visit.open("gradient")
    visit.upload(path)
    assert "<b>bold<b>.png" in visit.page.get_by_role("region", name="Question").inner_text()
    assert visit.page.locator("b").count() == 0

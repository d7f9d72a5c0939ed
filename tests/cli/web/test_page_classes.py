"""Predictions, the class to explain, the class to compare with, and networks of several labels."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.cli.web.visit import PageServer, Visit

LABELS = ["healthy", "rust", "scab", "black rot"]


def predictions(visit: Visit) -> Locator:
    return visit.page.get_by_role("list", name="Predictions").get_by_role("listitem")


def answer(page_server: PageServer, model: str, **options: object) -> dict[str, Any]:
    """Return the explanation of the sample by TorchServe itself."""
    picture = (page_server.samples / "rust" / "1.png").read_bytes()
    route = f"/explanations/{model}/1.0/" + "&".join(f"{name}={value}" for name, value in options.items())
    reply = page_server.torchserve.request("POST", route, picture)
    found: dict[str, Any] = json.loads(reply.body)
    return found


def shown_percent(row: Locator) -> float:
    """Return the number of a row, such as `98.4 %`, as a probability; `<0.1 %` is its bound."""
    found = re.search(r"([<>]?)([\d.]+) %", row.inner_text())
    assert found is not None
    return float(found[2]) / 100


def test_predictions_are_bars_with_the_probabilities_of_the_server(visit: Visit, page_server: PageServer) -> None:
    visit.open()
    expected = answer(page_server, "leaves", render="none")["predictions"]
    assert predictions(visit).count() == len(expected) == 4
    for row, prediction in zip(predictions(visit).all(), expected, strict=True):
        expect(row.get_by_role("button", name=prediction["label"], exact=True)).to_be_visible()
        assert shown_percent(row) == pytest.approx(prediction["probability"], abs=1.1e-3)
        share = "one => one.getBoundingClientRect().width / one.parentElement.clientWidth"
        width = row.locator(".filled").evaluate(share)
        assert width == pytest.approx(prediction["probability"], abs=0.02)


def test_a_click_on_a_prediction_explains_it(visit: Visit) -> None:
    visit.open("gradient", "grad_cam")
    for label in ("black rot", "healthy"):
        visit.page.get_by_role("list", name="Predictions").get_by_role("button", name=label, exact=True).click()
        visit.done()
        expect(visit.combobox("Class")).to_have_value(label)
        for method in ("gradient", "grad_cam"):
            expect(visit.map(method)).to_have_attribute("aria-label", re.compile(f"^{method} for {label}, "))


def test_classes_are_found_by_typing(visit: Visit) -> None:
    visit.open("gradient")
    suggestions = "input => [...input.list.options].map(option => option.value)"
    assert set(LABELS) <= set(visit.combobox("Class").evaluate(suggestions))
    visit.choose("Class", "black rot")
    expect(visit.map("gradient")).to_have_attribute("aria-label", re.compile("^gradient for black rot"))
    visit.choose("Class", "top3")
    expect(visit.map("gradient")).to_have_count(3)
    visit.choose("Class", "2")
    expect(visit.map("gradient")).to_have_attribute("aria-label", re.compile("^gradient for scab"))
    visit.choose("Class", "")
    expect(visit.map("gradient")).to_have_attribute("aria-label", re.compile("^gradient for rust"))


@pytest.mark.parametrize("against", ["scab", "runner_up"])
def test_a_class_is_compared_with_another(visit: Visit, page_server: PageServer, against: str) -> None:
    visit.open("gradient")
    before = visit.pixels()
    visit.choose("Against", against)
    found = answer(page_server, "leaves", target="rust", against=against)["explanations"][0]
    caption = visit.card("gradient").locator("figcaption").inner_text()
    assert re.fullmatch(rf"rust \S+ % against {found['against']['label']} \S+ %", caption)
    assert f"to {found['saliency']['max']:.3g}"[:6] in (visit.map("gradient").get_attribute("aria-label") or "")
    assert visit.pixels() != before


def test_a_multi_label_network_is_read_rightly(visit: Visit, page_server: PageServer) -> None:
    visit.open("gradient", model="diseases")
    expected = answer(page_server, "diseases", render="none")["predictions"]
    assert predictions(visit).count() == len(expected) == 3
    for row, prediction in zip(predictions(visit).all(), expected, strict=True):
        expect(row.get_by_role("button", name=prediction["label"], exact=True)).to_be_visible()
        assert shown_percent(row) == pytest.approx(prediction["probability"], abs=1.1e-3)
    expect(visit.page.get_by_text("the probabilities need not add up to 100 %")).to_be_visible()
    visit.choose("Class", "above0.5")
    sure = [prediction["label"] for prediction in expected if prediction["probability"] >= 0.5]
    expect(visit.map("gradient")).to_have_count(len(sure))
    visit.choose("Class", "above0.9999999")
    assert visit.alerts() == []


def test_a_network_of_one_output_has_two_classes(visit: Visit) -> None:
    visit.open("gradient", model="scab", picture="sample:scab/1.png")
    names = {row.get_by_role("button").inner_text() for row in predictions(visit).all()}
    assert names == {"scab", "not scab"}
    expect(visit.map("gradient")).to_be_visible()


def test_another_model_keeps_the_picture_and_the_methods(visit: Visit) -> None:
    visit.open("grad_cam", **{"class": "black rot"})
    visit.page.get_by_label("Model").select_option("diseases 1.0")
    visit.done()
    assert "model=diseases" in visit.fragment
    assert "picture=sample%3Arust%2F1.png" in visit.fragment
    expect(visit.map("grad_cam")).to_be_visible()
    expect(visit.combobox("Class")).to_have_value("")

"""The form of every method is drawn from the describe route, and every method can be asked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.cli.web.visit import PageServer, Visit

COSTLY = 100


def question(page_server: PageServer, picture: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of the page's server to a question, of any status."""
    from torchserve_saliency_cli.client.transport import send

    body = json.dumps({"picture": picture, "options": options})
    answer = send(f"{page_server.url}api/explanations/leaves/1.0", "POST", body).json()
    assert isinstance(answer, dict)
    return answer


def check_control(control: Locator, description: dict[str, Any]) -> None:
    """Check a control against the description of its parameter."""
    default = "" if description.get("default") is None else description["default"]
    if description["type"] == "boolean":
        expect(control).to_be_checked(checked=bool(default))
    elif "choices" in description:
        offered = control.locator("option").evaluate_all("all => all.map(one => one.value)")
        assert [choice for choice in offered if choice] == description["choices"]
        expect(control).to_have_value(str(default))
    elif description["type"] in ("integer", "number"):
        value = control.input_value()
        assert value == "" if default == "" else float(value) == float(default)
        for name, bound in ("min", "minimum"), ("max", "maximum"):
            assert float(control.get_attribute(name) or "nan") == description[bound]
        assert control.get_attribute("step") == ("1" if description["type"] == "integer" else "any")
    else:
        expect(control).to_have_value(str(default))


def test_every_described_method_has_its_form_and_is_asked(visit: Visit, page_server: PageServer) -> None:
    methods = page_server.description()["methods"]
    visit.open()
    offered = visit.combobox("Add a method").locator("option").evaluate_all("all => all.map(one => one.value)")
    assert [name for name in offered if name] == list(methods)
    without_map: list[str] = []
    for method, description in methods.items():
        visit.add(method)
        for name, parameter in description["parameters"].items():
            check_control(visit.field(method, name), parameter)
        visit.done()
        if description["cost"]["forwards"] > COSTLY:
            expect(visit.map(method)).to_have_count(0)
            passes = f"about {description['cost']['forwards']} forward passes"
            visit.card(method).get_by_role("button", name=re.compile(f"^Explain .*{passes}")).click()
            visit.done()
        if visit.alerts():
            without_map.append(method)
            picture = None if description.get("shows") == "input" else "sample:rust/1.png"
            answer = question(page_server, picture, {"method": method})
            assert visit.alerts() == [answer["message"]]
        else:
            name = visit.map(method).get_attribute("aria-label") or ""
            assert re.match(f"{method} for .+, from .+ to .+", name), name
        visit.card(method).get_by_role("button", name="Remove").click()
        expect(visit.card(method)).to_have_count(0)
        visit.choose("Class", "")
    assert len(without_map) < len(methods) / 4, without_map


def test_a_parameter_has_a_unit_and_the_values_of_the_answer(visit: Visit) -> None:
    visit.open("integrated_gradients?steps=7&baseline=black")
    assert "points" in visit.card("integrated_gradients").inner_text()
    expect(visit.field("integrated_gradients", "steps")).to_have_value("7")
    expect(visit.field("integrated_gradients", "baseline")).to_have_value("black")
    expect(visit.field("integrated_gradients", "seed")).to_have_value("0")
    before = visit.pixels()
    visit.field("integrated_gradients", "steps").fill("3")
    visit.field("integrated_gradients", "steps").press("Tab")
    visit.done()
    expect(visit.field("integrated_gradients", "steps")).to_have_value("3")
    assert visit.pixels() != before
    assert "steps%3D3" in visit.fragment


def test_quality_figures_are_a_table_beside_those_of_a_random_map(visit: Visit) -> None:
    visit.open("gradient", quality="1")
    table = visit.card("gradient").get_by_role("table")
    assert table.get_by_role("columnheader").all_text_contents() == ["quality", "this map", "random map"]
    assert table.get_by_role("row").count() >= 3


def test_a_new_method_needs_no_code_of_the_page(visit: Visit, page_server: PageServer) -> None:
    description = page_server.description()
    parameter = {"type": "integer", "minimum": 1, "maximum": 9, "default": 4, "unit": "spoons", "help": "How much"}
    description["methods"]["tea_leaves"] = {
        "help": "Reads tea leaves",
        "parameters": {"cups": parameter, "sweet": {"type": "boolean", "default": True}},
        "cost": {"forwards": 1},
    }
    visit.page.route("**/api/models/leaves/1.0", lambda route: route.fulfill(json=description))
    visit.open()
    visit.add("tea_leaves")
    expect(visit.field("tea_leaves", "cups")).to_have_value("4")
    expect(visit.field("tea_leaves", "sweet")).to_be_checked()
    assert "Reads tea leaves" in visit.card("tea_leaves").inner_text()
    assert "spoons" in visit.card("tea_leaves").inner_text()
    visit.done()
    assert "tea_leaves" in visit.card("tea_leaves").get_by_role("alert").inner_text()


@pytest.mark.parametrize("reduce", ["sum", "none"])
def test_the_options_of_all_methods_change_the_map(visit: Visit, reduce: str) -> None:
    visit.open("gradient")
    before = visit.pixels()
    visit.card("gradient").get_by_text("More options").click()
    visit.field("gradient", "reduce").select_option(reduce)
    visit.done()
    assert visit.pixels() != before
    assert visit.alerts() == []

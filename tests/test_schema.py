"""Typed options: any value is either parsed within its bounds or refused with a 400 that names the option."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods.activation.activation_maximization import ActivationMaximization
from torchserve_saliency.schema import Boolean, Choice, Integer, Number, Text, describe, option, read

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@dataclass(frozen=True)
class Example:
    count: int = option(5, Integer(1, 9), "how many")
    share: float = option(0.5, Number(0, 1), "how much")
    sure: bool = option(False, Boolean(), "whether")
    kind: str = option("plain", Choice(("plain", "fancy")), "which", unit="kinds")
    name: str | None = option(None, Text(8), "who")


@pytest.mark.parametrize(
    ("name", "sent", "value"),
    [
        ("count", 3, 3),
        ("count", " 7 ", 7),
        ("share", "1e-3", 0.001),
        ("share", 1, 1.0),
        ("sure", "True", True),
        ("sure", False, False),
        ("kind", "FANCY", "fancy"),
        ("name", " owl ", "owl"),
    ],
)
def test_values_are_read_from_text_and_json(name: str, sent: object, value: object) -> None:
    assert getattr(read(Example, {name: sent}), name) == value


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("count", 0),
        ("count", 10),
        ("count", 3.0),
        ("count", True),
        ("count", "٣"),
        ("count", "9" * 40),
        ("share", "nan"),
        ("share", float("inf")),
        ("share", "1_0"),
        ("share", 10**400),
        ("sure", "yes"),
        ("sure", 2),
        ("kind", "plane"),
        ("kind", None),
        ("name", ""),
        ("name", "a\nb"),
        ("name", "x" * 9),
        ("name", ["x"]),
    ],
)
def test_invalid_values_are_refused_with_the_options_name(name: str, sent: object) -> None:
    with pytest.raises(RequestError) as raised:
        read(Example, {name: sent})
    assert (raised.value.status, raised.value.option) == (400, name)
    assert f"'{name}' must be" in raised.value.message


def test_the_error_for_a_misspelt_choice_suggests_the_nearest_one() -> None:
    with pytest.raises(RequestError, match=r"did you mean fancy\?"):
        read(Example, {"kind": "fency"})


@given(st.sampled_from(["count", "share", "sure", "kind", "name"]), ANYTHING)
def test_any_value_is_parsed_within_bounds_or_refused(name: str, sent: object) -> None:
    try:
        example = read(Example, {name: sent})
    except RequestError as error:
        assert error.status == 400
        assert error.message.isprintable()
        assert len(error.message) < 200
    else:
        assert 1 <= example.count <= 9
        assert 0 <= example.share <= 1
        assert example.kind in ("plain", "fancy")


def test_the_description_has_types_defaults_bounds_and_texts() -> None:
    described = describe(Example)
    assert described["count"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 5, "help": "how many"}
    kind = {"type": "string", "choices": ["plain", "fancy"], "default": "plain", "help": "which", "unit": "kinds"}
    assert described["kind"] == kind


def test_null_is_ignored_if_null_is_the_default() -> None:
    assert read(ActivationMaximization, {"unit": None, "layer": None}) == ActivationMaximization()
    with pytest.raises(RequestError, match="'steps' must be a whole number"):
        read(ActivationMaximization, {"steps": None})


def test_an_alias_of_a_choice_is_replaced_by_its_name() -> None:
    colour = Choice(("grey", "red"), {"gray": "grey"})
    assert colour.read(" Gray ") == colour.read("grey") == "grey"
    with pytest.raises(ValueError, match="must be one of grey, red"):
        colour.read("blue")

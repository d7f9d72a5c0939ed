"""The texts that a form shows: one line for each method and each option, in plain words, and the units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import cast

import pytest

from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Method
from torchserve_saliency.requests.options import Options
from torchserve_saliency.schema import describe

LONGEST = {"method": 90, "option": 100}
UNITS = {
    "cells",
    "channels",
    "classes",
    "fraction of the input's range",
    "masks",
    "noisy copies",
    "orders",
    "percentile",
    "pixels",
    "points",
    "regions",
    "steps",
}
# terms that a stranger to the field cannot read, and marks of shapes and formulas
JARGON = (
    "tensor",
    "logit",
    "gradient",
    "baseline",
    "superpixel",
    "kernel",
    "softmax",
    "[",
    "]",
    "^",
    "=",
    "·",
    "arXiv",
)


def schemas() -> Iterator[tuple[str, type]]:
    """Yield the schema of the general options, and that of each method's parameters."""
    yield "options", Options
    for name, method in METHODS.items():
        yield name, method.parameters


OPTIONS = {f"{owner}.{name}": entry for owner, schema in schemas() for name, entry in describe(schema).items()}


def assert_one_line(text: str, longest: int) -> None:
    assert 0 < len(text) <= longest, text
    assert text == text.strip()
    assert text.isprintable()
    assert text[0].isupper(), text
    assert not text.endswith("."), text
    assert not [term for term in JARGON if term in text], text


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_one_line_for_a_person(name: str) -> None:
    assert_one_line(METHODS[name].help, LONGEST["method"])


def test_no_two_methods_have_the_same_line() -> None:
    assert len({method.help for method in METHODS.values()}) == len(METHODS)


def test_a_method_without_a_line_cannot_be_made() -> None:
    (help_line,) = (field for field in fields(Method) if field.name == "help")
    assert help_line.default is help_line.default_factory is MISSING


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_one_line_for_a_person(name: str) -> None:
    assert_one_line(cast(str, OPTIONS[name]["help"]), LONGEST["option"])


@pytest.mark.parametrize("name", OPTIONS)
def test_a_unit_is_one_of_a_few_and_belongs_to_a_number(name: str) -> None:
    entry = OPTIONS[name]
    if "unit" in entry:
        assert entry["unit"] in UNITS
        assert entry["type"] in ("integer", "number")


def test_every_unit_is_used() -> None:
    assert {entry["unit"] for entry in OPTIONS.values() if "unit" in entry} == UNITS

"""Further names of methods."""

from __future__ import annotations

import pytest

from torchserve_saliency.methods import ALIASES, METHODS
from torchserve_saliency.requests.options import OPTIONS


def test_captums_name_of_gradient_x_input_is_an_alias() -> None:
    assert OPTIONS["method"].read("input_x_gradient") == "gradient_x_input"


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_stands_for_a_method_and_is_not_one_itself(alias: str) -> None:
    assert OPTIONS["method"].read(alias) in METHODS
    assert alias not in METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_other_name_is_unchanged(name: str) -> None:
    assert OPTIONS["method"].read(name) == name


def test_an_unknown_name_is_not_replaced_by_another_one() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        OPTIONS["method"].read("no such method")

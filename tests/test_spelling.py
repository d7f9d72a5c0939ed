"""D3: spellings of a name that differ by case, hyphens, underscores, spaces and CamelCase."""

from __future__ import annotations

import pytest

from torchserve_saliency.spelling import find_spelling, similar_names, spelling_key

NAMES = ("grad_cam", "grad_cam_plus_plus", "l2", "max_abs")


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("gradcam", "grad_cam"),
        ("Grad-CAM", "grad_cam"),
        ("GradCAM", "grad_cam"),
        (" grad cam ", "grad_cam"),
        ("grad\u2011cam", "grad_cam"),
        ("GradCAM++", "grad_cam_plus_plus"),
        ("Grad-CAM plus plus", "grad_cam_plus_plus"),
        ("L2", "l2"),
        ("Max.Abs", "max_abs"),
    ],
)
def test_a_spelling_is_read_as_its_name(spelling: str, name: str) -> None:
    assert find_spelling(spelling, NAMES) == name


@pytest.mark.parametrize("other", ["", "-", "cam", "grad_cams", "grad_cam\0", "l 3", "__", "x" * 10_000])
def test_anything_else_is_no_spelling(other: str) -> None:
    assert find_spelling(other, NAMES) is None


def test_a_spelling_of_two_names_is_refused_unless_it_is_exactly_one_of_them() -> None:
    assert find_spelling("ab", ("a_b", "a-b")) is None
    assert find_spelling("A_B", ("a_b", "a-b")) == "a_b"


def test_an_alias_is_spelt_as_freely_as_a_name() -> None:
    assert find_spelling("Gray Scale", ("grey",), {"gray_scale": "grey"}) == "grey"
    assert find_spelling("grayscale", ("grey",), {"gray_scale": "blue"}) is None


def test_similar_names_are_listed_best_first() -> None:
    assert similar_names("Grad-CAN", NAMES)[0] == "grad_cam"
    assert similar_names("grayscal", ("grey",), {"gray_scale": "grey"}) == ["grey"]
    assert similar_names("nothing like it", NAMES) == []


def test_without_a_similar_name_those_that_share_a_part_are_listed() -> None:
    names = ("gradient_shap", "kernel_shap", "grad_cam", "gradient")
    assert similar_names("shap", names) == ["kernel_shap", "gradient_shap"]
    assert similar_names("grad_cam_elementwise_of_all", names)[0] == "grad_cam"
    assert similar_names("ap", names) == []


def test_the_key_of_a_long_text_is_short() -> None:
    assert len(spelling_key("x" * 1_000_000)) <= 101

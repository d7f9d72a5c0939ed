"""D3: options and their values in other spellings, as queries."""

from __future__ import annotations

import pytest

from tests.requests.test_query import png, read, read_error
from torchserve_saliency.methods import METHODS
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS, option_name
from torchserve_saliency.spelling import spelling_key


@pytest.mark.parametrize(
    ("spelling", "method"),
    [
        ("gradcam", "grad_cam"),
        ("Grad-CAM", "grad_cam"),
        ("GradCAM++", "grad_cam_plus_plus"),
        ("LayerGradCam", "grad_cam"),
        ("IntegratedGradients", "integrated_gradients"),
        ("SmoothGrad", "smooth_grad"),
        ("smoothgrad_sq", "smooth_grad_squared"),
        ("saliency", "gradient"),
        ("Saliency", "gradient"),
        ("Input × Gradient", "gradient_x_input"),
        ("InputXGradient", "gradient_x_input"),
        ("DeepLift", "deep_lift"),
        ("LRP", "lrp"),
        ("KernelShap", "kernel_shap"),
        ("HiResCAM", "hires_cam"),
        ("guided-ig", "guided_integrated_gradients"),
    ],
)
def test_d3_a_method_is_read_in_the_spellings_of_other_libraries(spelling: str, method: str) -> None:
    assert OPTIONS["method"].read(spelling) == method
    assert OPTIONS["method"].read(f" {spelling} ".upper()) == method


@pytest.mark.parametrize("method", METHODS)
def test_d3_every_method_is_read_in_camel_case_and_with_hyphens(method: str) -> None:
    camel = "".join(part.capitalize() for part in method.split("_"))
    for spelling in (camel, method.replace("_", "-"), method.replace("_", " "), method.replace("_", "")):
        assert OPTIONS["method"].read(spelling) == method


@pytest.mark.parametrize(
    ("name", "spelling", "value"),
    [
        ("render", "Side-by-Side", "side_by_side"),
        ("render", "sideBySide", "side_by_side"),
        ("reduce", "maxAbs", "max_abs"),
        ("score", "Log Probability", "log_probability"),
        ("format", "JPG", "jpeg"),
        ("format", "image/webp", "webp"),
        ("backdrop", "colour", "color"),
        ("backdrop", "Gray", "grey"),
        ("colormap", "Rd-Bu-R", "RdBu_r"),
    ],
)
def test_d3_other_options_are_as_tolerant(name: str, spelling: str, value: str) -> None:
    assert OPTIONS[name].read(spelling) == value


@pytest.mark.parametrize(
    ("name", "sent", "right"),
    [
        ("method", "grad_can", "grad_cam"),
        ("method", "DeepLiftShap", "deep_lift"),
        ("method", "integrated", "integrated_gradients"),
        ("render", "contour", "contours"),
    ],
)
def test_d3_what_is_no_spelling_is_refused_with_the_right_one_first(name: str, sent: str, right: str) -> None:
    error = read_error({"data": png(), name: sent})
    assert (error.status, error.option) == (400, name)
    assert error.message.startswith(f"'{name}' must be a known name; did you mean {right}?")


def test_d3_the_name_of_an_option_is_read_in_other_spellings() -> None:
    query = read({"data": png(), "Method": "SmoothGrad", "topK": "3", "Samples": "4"})
    assert (query.options.method, query.options.top_k) == ("smooth_grad", 3)
    assert getattr(query.parameters, "samples", None) == 4
    assert read({"body": png()}, path_options="top-k=2").options.top_k == 2
    assert option_name("headfusion") == "head_fusion"


def test_d3_two_spellings_of_an_option_are_refused() -> None:
    error = read_error({"data": png(), "top_k": "3", "topK": "4"})
    assert (error.status, error.option, error.message) == (400, "top_k", "'top_k' is given twice")


def test_d3_an_archives_default_is_read_in_other_spellings() -> None:
    from tests.networks import Modules, classifier, made

    network = classifier(made(Modules), method="Grad-CAM", reduce="Sum")
    assert read({"data": png()}, network=network).options.method == "grad_cam"


def test_the_names_of_options_differ_by_more_than_their_spelling() -> None:
    names = [*OPTIONS, *PARAMETERS]
    assert len({spelling_key(name) for name in names}) == len(set(names))

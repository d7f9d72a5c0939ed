"""Options as they are read: unknown and misplaced ones are errors, and defaults complete those that were sent."""

from __future__ import annotations

import pytest

from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.activation_maximization import ActivationMaximization
from torchserve_saliency.methods.gradient.smooth_grad import SmoothGrad
from torchserve_saliency.requests.parsing import read_defaults, read_options
from torchserve_saliency.schema import option_types


def read_error(sent: dict[str, object], defaults: dict[str, object] | None = None) -> RequestError:
    """Return the error of invalid options."""
    with pytest.raises(RequestError) as caught:
        read_options(sent, defaults or {})
    return caught.value


def test_an_option_that_is_not_sent_has_its_default() -> None:
    read = read_options({"method": "smooth_grad", "samples": "7"}, {"reduce": "sum"})
    assert (read.options.reduce, read.options.score) == ("sum", "logit")
    assert read.parameters == SmoothGrad(samples=7)


def test_an_unknown_option_is_an_error_with_the_most_similar_name() -> None:
    error = read_error({"metod": "gradient"})
    assert (error.status, error.option) == (400, "metod")
    assert "did you mean 'method'?" in error.message


def test_a_parameter_of_another_method_is_an_error_that_names_its_methods() -> None:
    error = read_error({"steps": 5})
    assert (error.status, error.option) == (400, "steps")
    assert "integrated_gradients" in error.message
    assert "no parameters" in error.message


def test_a_default_of_another_method_is_ignored() -> None:
    defaults: dict[str, object] = {"method": "smooth_grad", "samples": 3}
    assert read_options({"method": "gradient"}, defaults).options.method == "gradient"
    assert read_options({}, defaults).parameters == SmoothGrad(samples=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "gradiant"),
        ("score", "softmax"),
        ("reduce", "mean"),
        ("render", "hologram"),
        ("space", "outer"),
        ("colormap", "no such map"),
        ("colormap", 7),
        ("alpha", 1.5),
        ("clip", "high"),
        ("format", "gif"),
        ("top_k", 0),
        ("top_k", 101),
        ("quality", "perhaps"),
        ("target", []),
    ],
)
def test_an_invalid_value_is_an_error_that_names_the_option(name: str, value: object) -> None:
    assert (read_error({name: value}).status, read_error({name: value}).option) == (400, name)


def test_the_bounds_of_each_parameter_hold() -> None:
    for method, entry in METHODS.items():
        for name, option_type in option_types(entry.parameters).items():
            bounds = option_type.describe()
            for bound, step in (("minimum", -1), ("maximum", 1)):
                if isinstance(edge := bounds.get(bound), int | float):
                    read_options({"method": method, name: edge}, {})
                    assert read_error({"method": method, name: edge + step}).option == name


def test_a_default_layer_is_that_of_a_unit_only_if_there_is_a_unit() -> None:
    defaults: dict[str, object] = {"layer": "features.3"}
    assert read_options({"method": "activation_maximization"}, defaults).parameters == ActivationMaximization()
    unit = read_options({"method": "activation_maximization", "unit": 2}, defaults).parameters
    assert unit == ActivationMaximization(layer="features.3", unit=2)


@pytest.mark.parametrize("defaults", [{"metod": "x"}, {"samples": 0}, {"explain": True}, {"method": "none"}])
def test_invalid_defaults_are_errors(defaults: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        read_defaults(defaults)


def test_valid_defaults_are_returned() -> None:
    assert read_defaults({"method": "grad_cam", "samples": 9}) == {"method": "grad_cam", "samples": 9}


@pytest.mark.parametrize("name", ["input_x_gradient", " Input_X_Gradient "])
def test_an_alias_is_read_as_the_name_of_its_method(name: str) -> None:
    assert read_options({"method": name}, {}).options.method == "gradient_x_input"
    assert read_options({}, {"method": name}).options.method == "gradient_x_input"
    assert read_defaults({"method": name}) == {"method": name}


def test_an_unknown_method_is_an_error_with_the_most_similar_name() -> None:
    error = read_error({"method": "gradiant"})
    assert (error.status, error.option) == (400, "method")
    assert "did you mean gradient?" in error.message
    assert error.message.endswith("not 'gradiant'")

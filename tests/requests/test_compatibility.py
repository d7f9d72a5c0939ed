"""Options that conflict with each other or with the method, and methods that a network does not support."""

from __future__ import annotations

import pytest

from tests.networks import Flat, Modules, Tokens, classifier, made
from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods.activation.grad_cams import Cam
from torchserve_saliency.requests.compatibility import fit_parameters, unsupported_reason
from torchserve_saliency.requests.parsing import read_options


def read_error(sent: dict[str, object]) -> RequestError:
    """Return the error of conflicting options."""
    with pytest.raises(RequestError) as caught:
        read_options(sent, {})
    return caught.value


def test_polarity_needs_a_signed_map() -> None:
    assert read_error({"polarity": "positive"}).option == "polarity"
    assert read_options({"polarity": "negative", "reduce": "sum"}, {}).options.polarity == "negative"
    assert read_options({"reduce": "l2"}, {"polarity": "positive", "reduce": "sum"}).options.polarity == "both"


def test_percentiles_must_be_in_order() -> None:
    assert read_error({"floor": 60, "clip": 40}).status == 400
    assert read_error({"clip": 0}).option == "clip"
    moved = read_options({"floor": 60}, {"clip": 50}).options
    assert (moved.floor, moved.clip) == (60, 100)
    assert read_options({"clip": 40}, {"floor": 50}).options.floor == 0


@pytest.mark.parametrize("method", ["eigen_cam", "attention_rollout", "feature_maps"])
@pytest.mark.parametrize(("option", "value"), [("against", 3), ("score", "probability")])
def test_a_method_that_does_not_depend_on_the_class_has_no_score(method: str, option: str, value: object) -> None:
    with pytest.raises(RequestError, match="is the same for every class") as caught:
        read_options({"method": method, option: value}, {})
    assert (caught.value.status, caught.value.option) == (400, option)
    assert getattr(read_options({"method": method}, {option: value}).options, option) in (None, "logit")
    read_options({"method": method, "score": "logit"}, {})


def test_maps_without_saliency_have_no_quality() -> None:
    with pytest.raises(RequestError, match="makes no saliency: 'quality' must be false"):
        read_options({"method": "feature_maps", "quality": True}, {})


@pytest.mark.parametrize("method", ["feature_maps", "activation_maximization"])
def test_a_method_with_one_picture_has_one_target(method: str) -> None:
    error = read_error({"method": method, "target": [1, 2]})
    assert (error.status, error.option) == (400, "target")
    assert read_options({"method": method}, {"target": [1, 2]}).options.target == (1,)


def test_the_reason_that_a_method_is_unsupported_names_its_need() -> None:
    modules, flat, tokens = (classifier(made(network)) for network in (Modules, Flat, Tokens))
    assert unsupported_reason("grad_cam", modules) is None
    assert unsupported_reason("grad_cam", flat) == (
        "'grad_cam' needs a layer with spatial extent, and this network has none"
    )
    assert unsupported_reason("guided_backprop", tokens) == ("'guided_backprop' needs ReLUs, and this network has none")


def test_a_layer_is_the_one_named_or_the_networks_default() -> None:
    network = classifier(made(Modules))
    first, default = network.layers.names[0], network.layers.default
    for sent, layer in (({}, default), ({"layer": first}, first)):
        parameters = read_options({"method": "grad_cam", **sent}, {}).parameters
        fitted = fit_parameters("grad_cam", parameters, network)
        assert isinstance(fitted, Cam)
        assert fitted.layer == layer


@pytest.mark.parametrize(("layer", "problem"), [("secnd", "does not exist"), ("head", "has no spatial extent")])
def test_an_unknown_layer_is_an_error_with_similar_names(layer: str, problem: str) -> None:
    parameters = read_options({"method": "grad_cam", "layer": layer}, {}).parameters
    with pytest.raises(RequestError, match=f"{problem}; similar names: ") as caught:
        fit_parameters("grad_cam", parameters, classifier(made(Modules)))
    assert (caught.value.status, caught.value.option) == (422, "layer")

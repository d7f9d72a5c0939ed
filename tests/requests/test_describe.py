"""The answer of the describe route: enough to draw a form, with the passes that the answer really costs."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from torch import Tensor

from tests.networks import Modules, Tokens, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.requests.parsing import read_options
from torchserve_saliency.schema import option_types

LAYER_METHODS = [name for name, method in METHODS.items() if "layer" in option_types(method.parameters)]
# methods whose passes do not depend on the picture or on the number of a layer's channels, at any parameters
EXACT: dict[str, dict[str, int]] = {
    "gradient": {},
    "smooth_grad": {"samples": 40},
    "integrated_gradients": {"steps": 3},
    "gradient_shap": {"samples": 7},
    "guided_integrated_gradients": {"steps": 9},
    "grad_cam": {},
    "eigen_cam": {},
    "guided_grad_cam": {},
    "occlusion": {},
    "rise": {"samples": 33},
    "lime": {"samples": 12},
    "kernel_shap": {"samples": 64},
    "xrai": {"steps": 4},
    "activation_maximization": {"steps": 5},
}


class Counted(Modules):
    """Counts the rows of its forward and of its backward passes."""

    forwards = 0
    backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        logits = super().forward(x)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def methods_of(model: Classifier) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", describe(model)["methods"])


def options_of(model: Classifier) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", describe(model)["options"])


def passes(options: dict[str, Any], **defaults: Any) -> tuple[int, int]:
    """Return the passes that an explanation really needs, on an archive with these defaults."""
    network = made(Counted)
    assert isinstance(network, Counted)
    explainer = Explainer(classifier(network, **defaults))
    network.forwards = network.backwards = 0
    shows = METHODS[str(options["method"])].shows
    explainer.explain(None if shows is Shows.INPUT else picture(0), **options)
    return network.forwards, network.backwards


@pytest.fixture(scope="module")
def methods() -> dict[str, dict[str, Any]]:
    return methods_of(classifier(made(Modules)))


def test_the_answer_is_json_with_the_texts_of_methods_and_options(methods: dict[str, dict[str, Any]]) -> None:
    model = classifier(made(Modules))
    assert json.loads(json.dumps(describe(model)))["methods"] == methods
    assert {name: entry["help"] for name, entry in methods.items()} == {name: METHODS[name].help for name in methods}
    assert methods["smooth_grad"]["parameters"]["samples"]["unit"] == "noisy copies"
    assert methods["occlusion"]["parameters"]["window"]["unit"] == "pixels"
    assert "unit" not in methods["smooth_grad"]["parameters"]["seed"]
    assert options_of(model)["clip"]["unit"] == "percentile"


@pytest.mark.parametrize("method", EXACT)
def test_the_cost_is_the_passes_of_an_explanation_by_default(method: str, methods: dict[str, dict[str, Any]]) -> None:
    cost = methods[method]["cost"]
    assert passes({"method": method, "target": 1}) == (cost["forwards"], cost["backwards"])


@pytest.mark.parametrize("method", EXACT)
def test_a_parameter_changes_the_passes_as_described(method: str, methods: dict[str, dict[str, Any]]) -> None:
    described = methods[method]
    forwards = described["cost"]["forwards"]
    for name, value in EXACT[method].items():
        forwards += described["cost"]["forwards_per"][name] * (value - described["parameters"][name]["default"])
    assert passes({"method": method, "target": 1, **EXACT[method]})[0] == forwards


@pytest.mark.parametrize("method", ["gradient", "smooth_grad", "integrated_gradients", "grad_cam", "occlusion"])
def test_the_forward_passes_of_the_quality_scores_come_on_top(method: str, methods: dict[str, dict[str, Any]]) -> None:
    cost = methods[method]["cost"]
    forwards, _ = passes({"method": method, "target": 1, "quality": True})
    assert forwards == cost["forwards"] + cost["quality_forwards"]


def test_an_explanation_never_needs_more_passes_than_described(methods: dict[str, dict[str, Any]]) -> None:
    for method in methods.keys() - EXACT.keys():
        forwards, backwards = passes({"method": method, "target": 1})
        cost = methods[method]["cost"]
        assert forwards <= cost["forwards"], method
        assert backwards <= cost["backwards"], method


def test_only_parameters_with_a_fixed_number_of_passes_have_one(methods: dict[str, dict[str, Any]]) -> None:
    per = {name: entry["cost"]["forwards_per"] for name, entry in methods.items()}
    assert per["smooth_grad"] == per["rise"] == per["lime"] == per["kernel_shap"] == {"samples": 1}
    assert per["xrai"] == {"steps": 2}
    assert per["score_cam"] == {"channels": 1}
    assert per["feature_ablation"] == {"segments": 1}
    assert per["occlusion"] == per["gradient"] == per["feature_maps"] == {}
    few = methods_of(classifier(made(Modules), segments=4))["kernel_shap"]["cost"]
    assert few["forwards_per"] == {}  # 14 coalitions of 4 regions, however many samples are allowed
    assert few["forwards"] == 16


def test_a_method_that_makes_no_saliency_has_no_quality_scores(methods: dict[str, dict[str, Any]]) -> None:
    without = {name for name, entry in methods.items() if "quality_forwards" not in entry["cost"]}
    assert without == {"feature_maps", "activation_maximization"}


def test_the_defaults_and_the_cost_are_those_of_the_archive() -> None:
    described = methods_of(classifier(made(Modules), samples="40", layer="first;second", window=8))
    assert described["smooth_grad"]["parameters"]["samples"]["default"] == 40
    assert described["smooth_grad"]["cost"]["forwards"] == 41
    assert described["occlusion"]["cost"]["forwards"] == passes({"method": "occlusion", "target": 1}, window=8)[0]
    assert described["score_cam"]["cost"]["forwards_per"] == {"channels": 2}
    assert described["grad_cam"]["parameters"]["layer"]["default"] == "first;second"
    assert described["feature_maps"]["parameters"]["layer"]["default"] == "relu"  # it reads one layer only


def test_defaults_of_options_are_in_the_spelling_of_the_choices() -> None:
    options = options_of(classifier(made(Modules), method="Grad-CAM", reduce="SUM", alpha="0.5", target="dog"))
    assert options["method"]["default"] in options["method"]["choices"]
    assert (options["method"]["default"], options["reduce"]["default"]) == ("grad_cam", "sum")
    assert (options["alpha"]["default"], options["target"]["default"]) == (0.5, "dog")


def test_a_method_whose_defaults_do_not_fit_the_model_has_no_cost() -> None:
    described = methods_of(classifier(made(Modules), window=200))
    assert described["occlusion"]["cost"] is None
    assert described["rise"]["cost"]["forwards"] == 401


def test_the_layer_of_activation_maximization_has_no_default(methods: dict[str, dict[str, Any]]) -> None:
    assert methods["activation_maximization"]["parameters"]["layer"]["default"] is None
    assert methods["grad_cam"]["parameters"]["layer"]["default"] == "relu"


@pytest.mark.parametrize("method", LAYER_METHODS)
@pytest.mark.parametrize("make", [Modules, Tokens])
def test_the_choices_of_a_layer_are_read(method: str, make: type[Modules] | type[Tokens]) -> None:
    model = classifier(made(make))
    described = methods_of(model)
    if method not in described:
        return
    layer = described[method]["parameters"]["layer"]
    assert layer["choices"] == describe(model)["layers"]
    reads = option_types(METHODS[method].parameters)["layer"]
    for choice in layer["choices"]:
        assert reads.read(choice) == choice
    several = ";".join(layer["choices"][:2])
    if layer.get("several"):
        assert reads.read(several) == several
    else:
        with pytest.raises(ValueError, match="a layer name"):
            reads.read(several)


def test_the_keywords_of_the_classes_are_read() -> None:
    options = options_of(classifier(made(Modules)))
    for option in ("target", "against"):
        for keyword in options[option]["also"]:
            assert read_options({option: keyword}, {})
    assert options["target"]["several"] is True

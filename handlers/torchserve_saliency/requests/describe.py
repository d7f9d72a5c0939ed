"""The answer of the describe route: the capabilities of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from torchserve_saliency import schema
from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.layer_options import LayerNames
from torchserve_saliency.methods.base import Method, Need, Shows
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.heads import Head
from torchserve_saliency.quality.scores import quality_cost
from torchserve_saliency.requests.compatibility import fit_parameters, unsupported_reason
from torchserve_saliency.requests.options import OPTIONS, Options
from torchserve_saliency.requests.parsing import read_options

Description = dict[str, dict[str, object]]  # the entries of options or parameters by name
# Values besides the names of classes, as a form may offer them.
_KEYWORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"target": ("predicted", "top3", "above0.5"), "against": ("runner_up",)}
)


def describe(classifier: Classifier) -> dict[str, object]:
    """Return a model's heads with their labels, its input, methods, layers, options, limits and self-check."""
    supported = [name for name in METHODS if unsupported_reason(name, classifier) is None]
    return {
        "labels": len(classifier.labels),
        "label_names": list(classifier.labels.names),
        "activation": classifier.heads.default.activation.name,
        "heads": [_head(head) for head in classifier.heads],
        "default_head": classifier.heads.default.name,
        "input": asdict(classifier.input),
        "methods": {name: _method(name, classifier) for name in supported},
        "layers": list(classifier.layers.names),
        "default_layer": classifier.layers.default,
        "gradients": classifier.adaptation.gradients.value,
        "unsupported": {
            name: reason for name in METHODS if (reason := unsupported_reason(name, classifier)) is not None
        },
        "options": _options(classifier),
        "defaults": dict(classifier.defaults),
        "limits": asdict(classifier.limits),
        "precision": asdict(classifier.precision),
        "compiled": dict(classifier.compiled.sizes) if classifier.compiled else {},
        "self_check": dict(classifier.self_check),
    }


def _head(head: Head) -> dict[str, object]:
    """Return the name, the labels and the activation of one output of the network."""
    return {
        "name": head.name,
        "labels": len(head.labels),
        "label_names": list(head.labels.names),
        "activation": head.activation.name,
    }


def _method(name: str, classifier: Classifier) -> dict[str, object]:
    """Return a method's paper and help text, its parameters, the kind of its maps, and its cost."""
    method = METHODS[name]
    parameters = read_options({"method": name}, classifier.defaults).parameters
    return {
        "paper": method.paper,
        "help": method.help,
        "parameters": _parameters(method, parameters, classifier),
        "shows": method.shows.value,
        "class_specific": method.class_specific,
        "cost": _cost(name, parameters, classifier),
    }


def _parameters(method: Method, defaults: Any, classifier: Classifier) -> Description:
    """Return the parameters of a method with this model's defaults; a layer has the model's layers as choices."""
    described = schema.describe(method.parameters)
    for name, option_type in schema.option_types(method.parameters).items():
        entry = described[name]
        entry["default"] = getattr(defaults, name)
        if isinstance(option_type, LayerNames):
            entry["choices"] = list(classifier.layers.names)
            if entry["default"] is None and Need.LAYER in method.needs:
                entry["default"] = classifier.layers.default
    return described


def _cost(name: str, parameters: Any, classifier: Classifier) -> dict[str, object] | None:
    """Return the most passes that a method needs for one target with these parameters.

    `forwards_per` has the forward passes that one more of an integer parameter adds, and `quality_forwards` those of
    the quality scores. None if the parameters do not fit the model, because a default of the archive is wrong for it.
    """
    method, spec = METHODS[name], classifier.input
    try:
        fitted = fit_parameters(name, parameters, classifier)
    except RequestError:
        return None
    cost = method.cost(fitted, spec)
    passes: dict[str, object] = {"forwards": cost.forward_passes(1), "backwards": cost.backwards}
    passes["forwards_per"] = _forwards_per(method, fitted, classifier)
    if method.shows is Shows.SALIENCY:
        passes["quality_forwards"] = quality_cost(cost).forward_passes(1)
    return passes


def _forwards_per(method: Method, fitted: Any, classifier: Classifier) -> dict[str, int]:
    """Return the forward passes that one more of each integer parameter adds, if that is the same for all values."""
    slopes = {
        name: _slope(method, fitted, name, option_type, classifier)
        for name, option_type in schema.option_types(method.parameters).items()
        if isinstance(option_type, schema.Integer) and getattr(fitted, name) is not None
    }
    return {name: slope for name, slope in slopes.items() if slope}


def _slope(method: Method, fitted: Any, name: str, bounds: schema.Integer, classifier: Classifier) -> int:
    """Return the slope of the forward passes in one parameter, the others fixed; 0 if they are not linear in it."""

    def forwards(value: int) -> int:
        return method.cost(replace(fitted, **{name: value}), classifier.input).forward_passes(1)

    low, high = bounds.minimum, bounds.maximum
    try:
        at_low = forwards(low)
        slope = (forwards(high) - at_low) // (high - low)
        linear = all(
            forwards(v) == at_low + slope * (v - low) for v in (getattr(fitted, name), (low + high) // 2, high)
        )
    except RequestError:  # the cost depends on the input, which not every value fits
        return 0
    return slope if linear else 0


def _options(classifier: Classifier) -> Description:
    """Return the options that all methods have, with the archive's defaults."""
    options = schema.describe(Options)
    options["target"]["default"] = "predicted"
    options["target"]["several"] = True
    options["head"]["default"] = classifier.heads.default.name
    for name, keywords in _KEYWORDS.items():
        options[name]["also"] = list(keywords)
    own = {name: value for name, value in classifier.defaults.items() if name in options}
    for name, value in own.items():
        options[name]["default"] = value if name == "target" else schema.read_one(name, OPTIONS[name], value)
    return options

"""The answer of the describe route: the capabilities of a model."""

from __future__ import annotations

from dataclasses import asdict

from torchserve_saliency import schema
from torchserve_saliency.methods import METHODS
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.heads import Head
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.requests.options import Options


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
    """Return a method's paper, its parameters and the kind of its maps."""
    method = METHODS[name]
    parameters = schema.describe(method.parameters)
    if "layer" in parameters:
        parameters["layer"]["default"] = classifier.layers.default
    return {
        "paper": method.paper,
        "parameters": _with_archive_defaults(parameters, classifier),
        "shows": method.shows.value,
        "class_specific": method.class_specific,
    }


def _options(classifier: Classifier) -> dict[str, dict[str, object]]:
    """Return the options that all methods have."""
    options = schema.describe(Options)
    options["target"]["default"] = "predicted"
    options["head"]["default"] = classifier.heads.default.name
    return _with_archive_defaults(options, classifier)


def _with_archive_defaults(
    options: dict[str, dict[str, object]], classifier: Classifier
) -> dict[str, dict[str, object]]:
    """Return descriptions of options with the archive's defaults in place of the general ones."""
    own = classifier.defaults
    return {name: entry | ({"default": own[name]} if name in own else {}) for name, entry in options.items()}

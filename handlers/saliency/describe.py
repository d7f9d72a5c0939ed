"""What a model can explain, as the describe route shows it."""

from __future__ import annotations

from dataclasses import asdict

from saliency import schema
from saliency.methods import METHODS
from saliency.model import Classifier
from saliency.needs import lacking
from saliency.options import Options


def describe(classifier: Classifier) -> dict[str, object]:
    """Return labels, input, methods with their parameters, layers, limits, precision and the archive's self-check."""
    return {
        "labels": len(classifier.labels.names),
        "input": asdict(classifier.input),
        "methods": {name: _method(name, classifier) for name in METHODS if lacking(name, classifier) is None},
        "layers": list(classifier.layers.names),
        "default_layer": classifier.layers.default,
        "options": _options(classifier),
        "defaults": dict(classifier.defaults),
        "limits": asdict(classifier.limits),
        "precision": asdict(classifier.precision),
        "compiled": dict(classifier.compiled.sizes) if classifier.compiled else {},
        "self_check": dict(classifier.self_check),
    }


def _method(name: str, classifier: Classifier) -> dict[str, object]:
    """Return a method's paper, its parameters and what its maps show; `layer` by default is the network's own."""
    parameters = schema.describe(METHODS[name].parameters)
    if "layer" in parameters:
        parameters["layer"]["default"] = classifier.layers.default
    method = METHODS[name]
    said = {"shows": method.shows.value, "class_specific": not method.class_blind}
    return {"paper": method.paper, "parameters": _own(parameters, classifier), **said}


def _options(classifier: Classifier) -> dict[str, dict[str, object]]:
    """Return the options that every method has."""
    options = schema.describe(Options)
    options["target"]["default"] = "predicted"
    return _own(options, classifier)


def _own(described: dict[str, dict[str, object]], classifier: Classifier) -> dict[str, dict[str, object]]:
    """Return descriptions with the archive's own defaults in place of ours."""
    own = classifier.defaults
    return {name: said | ({"default": own[name]} if name in own else {}) for name, said in described.items()}

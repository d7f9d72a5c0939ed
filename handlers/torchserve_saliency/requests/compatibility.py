"""Compatibility: of the options of a request with each other, and of a method with its options and with the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from torchserve_saliency.engine.objective import Above, Rank
from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.layer_options import layer_names
from torchserve_saliency.methods.base import Method, Need, Shows
from torchserve_saliency.methods.reduction import SIGNED
from torchserve_saliency.model.blocked_gradients import Gradients
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.options import Options
from torchserve_saliency.schema import shown

# Values that an option may have with some methods, the default first. Other methods allow all values.
_AllowedValues = Mapping[str, tuple[Any, ...]]
_NO_SALIENCY: _AllowedValues = MappingProxyType(
    {
        "reduce": ("none",),
        "space": ("input",),
        "render": ("heatmap", "none"),
        "quality": (False,),
    }
)
_NO_MAP: _AllowedValues = MappingProxyType({"polarity": ("both",)})
_NO_SIGN: _AllowedValues = MappingProxyType({"polarity": ("both", "positive")})
_WITHOUT_GRADIENT = ("score_cam", "occlusion", "rise")  # are named to clients of a network without gradients
_NO_CLASS: _AllowedValues = MappingProxyType({"score": ("logit",), "against": (None,)})


def reconcile(options: Options, sent: Mapping[str, object]) -> Options:
    """Return options that are compatible with each other and with the method.

    A default that conflicts with an option that was sent, or with the method, is replaced. If two options that were
    sent conflict, or one conflicts with the method, raise RequestError 400.
    """
    options = _fit_method(options, sent)
    if options.polarity != "both" and options.reduce not in SIGNED:
        if "polarity" in sent:
            raise bad_option("polarity", f"'polarity' needs a signed map: 'reduce' {' or '.join(SIGNED)}")
        options = replace(options, polarity="both")
    if options.floor >= options.clip:
        options = _order_percentiles(options, sent)
    return options


def _fit_method(options: Options, sent: Mapping[str, object]) -> Options:
    """Replace defaults that the method does not allow; raise RequestError 400 if such a value was sent."""
    method = METHODS[options.method]
    for allowed, reason in _restrictions(method):
        for name, values in allowed.items():
            if getattr(options, name) in values:
                continue
            if name in sent:
                listed = " or ".join(str(value).lower() for value in values)
                raise bad_option(name, f"'{options.method}' {reason}: '{name}' must be {listed}")
            options = replace(options, **{name: values[0]})
    several = len(options.target) > 1 or isinstance(options.target[0], Above)
    if method.shows is not Shows.SALIENCY and several:
        if "target" in sent:
            raise bad_option("target", f"'{options.method}' makes one picture per request: 'target' may name one class")
        first = options.target[0]
        options = replace(options, target=(Rank(0) if isinstance(first, Above) else first,))
    return options


def _restrictions(method: Method) -> Iterator[tuple[_AllowedValues, str]]:
    """Yield the option values that a method allows, with the reason."""
    if method.shows is not Shows.SALIENCY:
        yield _NO_SALIENCY, "makes no saliency"
    if method.shows is Shows.INPUT:
        yield _NO_MAP, "makes a picture"
    if not method.signed:
        yield _NO_SIGN, "has no negative values, so nothing in its map speaks against a class"
    if not method.class_specific:
        yield _NO_CLASS, "is the same for every class"


def _order_percentiles(options: Options, sent: Mapping[str, object]) -> Options:
    """Return options with `floor` below `clip`, by a reset of a default; raise RequestError 400 if both were sent."""
    if "floor" not in sent and options.clip > 0:
        return replace(options, floor=0.0)
    if "clip" not in sent and options.floor < 100:
        return replace(options, clip=100.0)
    raise bad_option("floor" if "floor" in sent else "clip", "'floor' must be below 'clip'")


# If a network lacks a need, its function returns the reason, else None.
_MISSING: Mapping[Need, Callable[[Classifier], str | None]] = MappingProxyType(
    {
        Need.HOOKS: lambda c: None if c.hookable else "needs hooks on the network's modules, which TorchScript forbids",
        Need.RECTIFIERS: lambda c: None if c.rectifiers > 0 else "needs ReLUs, and this network has none",
        Need.LAYER: lambda c: (
            None if c.layers.names else "needs a layer with spatial extent, and this network has none"
        ),
        Need.ATTENTION: lambda c: c.attention.unsupported_reason,
    }
)


def unsupported_reason(method: str, classifier: Classifier) -> str | None:
    """Return the reason why a network does not support a method, or None."""
    for need in METHODS[method].needs:
        if reason := _MISSING[need](classifier):
            return f"'{method}' {reason}"
    if classifier.adaptation.gradients is Gradients.NONE and needs_gradient(method, classifier):
        others = [name for name in _WITHOUT_GRADIENT if unsupported_reason(name, classifier) is None]
        return (
            f"'{method}' needs a gradient, and none reaches the input of this network, because it computes without "
            "autograd (by numpy, for example), or its backward pass fails; methods without gradients are "
            f"{', '.join(others)}, …"
        )
    return None


def needs_gradient(method: str, classifier: Classifier) -> bool:
    """Tell if a method runs a backward pass."""
    entry = METHODS[method]
    return entry.cost(entry.fit(entry.parameters(), classifier.input), classifier.input).backwards > 0


def fit_parameters(method: str, parameters: object, classifier: Classifier) -> object:
    """Return a method's parameters fitted to the network's input size and layers.

    Raise RequestError 422 if the network does not support the method or has no such layer.
    """
    if reason := unsupported_reason(method, classifier):
        raise RequestError(422, "MethodException", reason, "method")
    fitted = METHODS[method].fit(parameters, classifier.input)
    if not hasattr(fitted, "layer"):
        return fitted
    default = classifier.layers.default if Need.LAYER in METHODS[method].needs else None
    layer = fitted.layer or default
    for name in layer_names(layer) if layer else ():
        if name not in classifier.layers.names:
            raise _unknown_layer(name, classifier)
    return replace(fitted, layer=layer)


def _unknown_layer(layer: str, classifier: Classifier) -> RequestError:
    """Return the 422 for a layer that does not exist or has no spatial extent, with near matches."""
    exists = layer in dict(classifier.network.named_modules())
    problem = "has no spatial extent" if exists else "does not exist"
    near = get_close_matches(layer, classifier.layers.names, n=3) or [classifier.layers.default or "(no layer)"]
    message = f"layer {shown(layer)} {problem}; similar names: {', '.join(near)}"
    return RequestError(422, "LayerException", message, "layer")

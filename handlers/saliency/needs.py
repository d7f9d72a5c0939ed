"""Whether a network has what a method needs, and why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from saliency.methods import METHODS
from saliency.methods.base import Need
from saliency.model import Classifier


def _unless(met: Callable[[Classifier], bool], why: str) -> Callable[[Classifier], str | None]:
    """Return a function of a network that returns `why`, or None where the need is met."""
    return lambda classifier: None if met(classifier) else why


_LACKS: Mapping[Need, Callable[[Classifier], str | None]] = MappingProxyType(
    {
        Need.HOOKS: _unless(
            lambda c: c.hookable, "needs to listen to the network's modules, which TorchScript forbids"
        ),
        Need.RECTIFIERS: _unless(lambda c: c.rectifiers > 0, "needs ReLUs, and this network has none"),
        Need.LAYER: _unless(
            lambda c: bool(c.layers.names), "needs a layer with spatial extent, and this network has none"
        ),
        Need.ATTENTION: lambda c: c.attention.lack,
    }
)


def lacking(method: str, classifier: Classifier) -> str | None:
    """Return why this network cannot take a method; None where it can."""
    for need in METHODS[method].needs:
        if why := _LACKS[need](classifier):
            return f"'{method}' {why}"
    return None

"""Whether a network has what a method needs, and why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from saliency.methods import METHODS
from saliency.methods.base import Need
from saliency.model import Classifier

_MET: Mapping[Need, tuple[Callable[[Classifier], bool], str]] = MappingProxyType(
    {
        Need.HOOKS: (lambda c: c.hookable, "needs to listen to the network's modules, which TorchScript forbids"),
        Need.RECTIFIERS: (lambda c: c.rectifiers > 0, "needs ReLUs, and this network has none"),
        Need.LAYER: (
            lambda c: bool(c.layers.names),
            "needs a layer with spatial extent, and this network has none",
        ),
    }
)


def lacking(method: str, classifier: Classifier) -> str | None:
    """Return why this network cannot take a method; None where it can."""
    for need in METHODS[method].needs:
        met, why = _MET[need]
        if not met(classifier):
            return f"'{method}' {why}"
    return None

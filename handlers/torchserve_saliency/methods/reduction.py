"""Reduction of attributions over their channels, and the sign of the values to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "max_abs": lambda maps: maps.abs().amax(1),
        "sum_abs": lambda maps: maps.abs().sum(1),
        "l2": lambda maps: maps.norm(dim=1),
        "sum": lambda maps: maps.sum(1),
        "none": lambda maps: maps,
    }
)
SIGNED = ("sum", "none")
POLARITIES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "both": lambda maps: maps,
        "positive": lambda maps: maps.clamp_min(0),
        "negative": lambda maps: maps.clamp_max(0),
    }
)


def reduced(maps: Tensor, reduce: str, polarity: str) -> Tensor:
    """Return maps [T, C, H, W] reduced to [T, H, W], or with their channels for `none`, and clipped to a polarity."""
    return POLARITIES[polarity](REDUCTIONS[reduce](maps))

"""The parameters that name layers, one or several separated by semicolons, and count their strongest channels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from saliency.schema import Integer, Text, option

SEPARATOR = ";"


@dataclass(frozen=True)
class LayerNames:
    """Reads the names of layers: a text, separated by semicolons, or a list of texts; shown as one text."""

    most: int = 8

    def read(self, value: object) -> str:
        named = value.split(SEPARATOR) if isinstance(value, str) else value
        if not isinstance(named, list | tuple) or not 0 < len(named) <= self.most:
            raise ValueError("must be a layer's name" + (f", or up to {self.most} of them" if self.most > 1 else ""))
        return SEPARATOR.join(dict.fromkeys(Text().read(name) for name in named))

    def describe(self) -> dict[str, object]:
        return {"type": "string"}


def layer_option() -> str | None:
    """Return the field of a parameter that names layers."""
    chosen: str | None = option(
        None, LayerNames(), "layers that are read, separated by semicolons; their maps are fused by maximum"
    )
    return chosen


def names(layer: str | None) -> tuple[str, ...]:
    """Return the names in a parameter that the request has been given a default for."""
    return tuple((layer or "").split(SEPARATOR))


def channels_option(default: int, help: str) -> int:
    """Return the field of a parameter that counts a layer's channels."""
    chosen: int = option(default, Integer(1, 2048), help)
    return chosen


def strongest(grid: Tensor, count: int) -> Tensor:
    """Return the numbers of the `count` channels of a grid [1, C, h, w] with the largest mean absolute activation."""
    return grid[0].abs().mean((1, 2)).argsort(descending=True, stable=True)[:count]

"""Parameters that name layers, separated by semicolons, and that count their strongest channels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from torchserve_saliency.schema import Integer, Text, option

SEPARATOR = ";"


@dataclass(frozen=True)
class LayerNames:
    """One or several layer names: a text, separated by semicolons, or a list of texts."""

    most: int = 8

    def read(self, value: object) -> str:
        named = value.split(SEPARATOR) if isinstance(value, str) else value
        if not isinstance(named, list | tuple) or not 0 < len(named) <= self.most:
            raise ValueError("must be a layer name" + (f", or up to {self.most} layer names" if self.most > 1 else ""))
        return SEPARATOR.join(dict.fromkeys(Text().read(name) for name in named))

    def describe(self) -> dict[str, object]:
        return {"type": "string"} | ({"several": True} if self.most > 1 else {})


def layer_option() -> str | None:
    """Return the dataclass field of a parameter that names layers."""
    chosen: str | None = option(
        None, LayerNames(), "Layers to take the map from; of several maps, each pixel has the highest value"
    )
    return chosen


def layer_names(layer: str | None) -> tuple[str, ...]:
    """Return the single names in a `layer` parameter; a missing default must have been filled in before."""
    return tuple((layer or "").split(SEPARATOR))


def channels_option(default: int, help: str) -> int:
    """Return the dataclass field of a parameter that counts a layer's channels."""
    chosen: int = option(default, Integer(1, 2048), help, unit="channels")
    return chosen


def strongest_channels(grid: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` channels of a grid [1, C, h, w] with the largest mean absolute activation."""
    return grid[0].abs().mean((1, 2)).argsort(descending=True, stable=True)[:count]

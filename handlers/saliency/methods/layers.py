"""The parameter that names layers: one, or several separated by semicolons, whose maps are fused by maximum."""

from __future__ import annotations

from dataclasses import dataclass

from saliency.schema import Text, option

SEPARATOR = ";"


@dataclass(frozen=True)
class LayerNames:
    """Reads the names of layers: a text, separated by semicolons, or a list of texts; shown as one text."""

    most: int = 8

    def read(self, value: object) -> str:
        named = value.split(SEPARATOR) if isinstance(value, str) else value
        if not isinstance(named, list | tuple) or not 0 < len(named) <= self.most:
            raise ValueError(f"must be a layer's name, or up to {self.most} of them")
        return SEPARATOR.join(dict.fromkeys(Text().read(name) for name in named))

    def describe(self) -> dict[str, object]:
        return {"type": "string"}


def layer_option() -> str | None:
    """Return the field of a parameter that names layers."""
    chosen: str | None = option(None, LayerNames(), "layers that are read, separated by semicolons")
    return chosen


def names(layer: str | None) -> tuple[str, ...]:
    """Return the names in a parameter that the request has been given a default for."""
    return tuple((layer or "").split(SEPARATOR))

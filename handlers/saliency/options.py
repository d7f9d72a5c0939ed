"""Every option of a request: its type, its bounds, its default; and how what was sent becomes one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from saliency.colormap import check_colormap
from saliency.explanation import RENDERS
from saliency.methods import METHODS
from saliency.objective import SCORES
from saliency.reduce import POLARITIES, REDUCTIONS
from saliency.schema import Boolean, Choice, Integer, Kind, Number, kinds, option
from saliency.targets import Opponent, Rank, Targets

FORMATS = ("json", "png", "npy")


@dataclass(frozen=True)
class Colormap:
    """Reads the name of a Matplotlib colormap."""

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("must be the name of a Matplotlib colormap")
        return check_colormap(value)

    def describe(self) -> dict[str, object]:
        return {"type": "string"}


@dataclass(frozen=True)
class Options:
    """The options that every method has."""

    target: tuple[str | int | Rank, ...] = option((Rank(0),), Targets(), "classes to explain")
    against: str | int | None = option(None, Opponent(), "class whose score is subtracted")
    method: str = option("gradient", Choice(tuple(METHODS)), "attribution method")
    score: str = option("logit", Choice(SCORES), "scalar that is explained")
    reduce: str = option("max_abs", Choice(tuple(REDUCTIONS)), "how channels become one map")
    polarity: str = option("both", Choice(tuple(POLARITIES)), "part of a signed map that is kept")
    render: str = option("heatmap", Choice((*RENDERS, "none")), "picture of the map")
    space: str = option("input", Choice(("input", "original")), "pixels that the map lies on")
    colormap: str | None = option(None, Colormap(), "Matplotlib colormap of the picture")
    alpha: float = option(0.6, Number(0, 1), "opacity of an overlay")
    clip: float = option(99.5, Number(0, 100), "upper percentile that the colours span")
    floor: float = option(0.0, Number(0, 100), "lower percentile that the colours span")
    format: str = option("json", Choice(FORMATS), "what comes back")
    top_k: int = option(5, Integer(1, 100), "how many predictions")
    quality: bool = option(False, Boolean(), "faithfulness scores beside each map")
    explain: bool = option(False, Boolean(), "saliency on the predictions route")


OPTIONS: Mapping[str, Kind] = MappingProxyType(kinds(Options))
PARAMETERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(method for method, entry in METHODS.items() if name in kinds(entry.parameters))
        for entry in METHODS.values()
        for name in kinds(entry.parameters)
    }
)

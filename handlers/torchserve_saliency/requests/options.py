"""The options that all methods have, and the names of the parameters that only some methods have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torchserve_saliency.engine.objective import SCORES, Above, Rank
from torchserve_saliency.methods import ALIASES, METHODS
from torchserve_saliency.methods.reduction import POLARITIES, REDUCTIONS
from torchserve_saliency.requests.target_options import Against, HeadName, Targets
from torchserve_saliency.responses.colormap import check_colormap
from torchserve_saliency.responses.explanation import BACKDROPS, RENDERS
from torchserve_saliency.schema import Boolean, Choice, Integer, Number, OptionType, option, option_types
from torchserve_saliency.spelling import spelling_key

PICTURE_FORMATS = ("png", "jpeg", "webp")
ANSWER_FORMATS = ("json", "png", "npy", "jpeg", "webp")
_FORMAT_ALIASES = {
    "jpg": "jpeg",
    "numpy": "npy",
    "application/json": "json",
    "image/png": "png",
    "application/x-npy": "npy",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/webp": "webp",
}
_BACKDROP_ALIASES = {"gray": "grey", "colour": "color"}


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
    """The options that all methods have."""

    target: tuple[str | int | Rank | Above, ...] = option((Rank(0),), Targets(), "Classes to explain, one map each")
    against: str | int | None = option(None, Against(), "Class to compare with: why the target rather than this one")
    head: str | int | None = option(None, HeadName(), "Output of the network, if it has several")
    method: str = option("gradient", Choice(tuple(METHODS), ALIASES), "How the map is made")
    score: str = option(
        "logit", Choice(SCORES), "Number that is explained: the score before or after it becomes a probability"
    )
    reduce: str = option(
        "max_abs", Choice(tuple(REDUCTIONS)), "How the colour channels become one map; sum keeps the sign"
    )
    polarity: str = option(
        "both", Choice(tuple(POLARITIES)), "Evidence to keep in a map with signs: for the class, against it, or both"
    )
    render: str = option("heatmap", Choice((*RENDERS, "none")), "How the map is drawn")
    space: str = option(
        "input",
        Choice(("input", "original")),
        "Size of the map: that of the network's input, or that of the picture sent",
    )
    colormap: str | None = option(None, Colormap(), "Colours of the drawn map, by a name of Matplotlib")
    alpha: float = option(0.6, Number(0, 1), "Opacity of an overlay")
    clip: float = option(99.5, Number(0, 100), "Map values above it have the last colour", unit="percentile")
    floor: float = option(0.0, Number(0, 100), "Map values below it have the first colour", unit="percentile")
    backdrop: str = option(
        "grey", Choice(BACKDROPS, _BACKDROP_ALIASES), "Picture under an overlay, in grey or in colour"
    )
    caption: bool = option(False, Boolean(), "Write class, probability, method and colour scale into the drawn picture")
    format: str = option("json", Choice(ANSWER_FORMATS, _FORMAT_ALIASES), "Format of the answer")
    top_k: int = option(5, Integer(1, 100), "Number of predictions to list", unit="classes")
    quality: bool = option(False, Boolean(), "Measure how well each map fits the network; takes longer")
    explain: bool = option(False, Boolean(), "Ask for an explanation on the predictions route")


OPTIONS: Mapping[str, OptionType] = MappingProxyType(option_types(Options))
# The methods that have each parameter.
PARAMETERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(method for method, entry in METHODS.items() if name in option_types(entry.parameters))
        for entry in METHODS.values()
        for name in option_types(entry.parameters)
    }
)


_NAMES: Mapping[str, str] = MappingProxyType({spelling_key(name): name for name in (*OPTIONS, *PARAMETERS)})


def option_name(name: str) -> str | None:
    """Return the option or parameter that a name is a spelling of, such as `top_k` for `topK`, or None."""
    if name in OPTIONS or name in PARAMETERS:
        return name
    return _NAMES.get(spelling_key(name))

"""The options that all methods have, and the names of the parameters that only some methods have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torchserve_saliency.engine.objective import SCORES, Rank
from torchserve_saliency.methods import ALIASES, METHODS
from torchserve_saliency.methods.reduction import POLARITIES, REDUCTIONS
from torchserve_saliency.requests.target_options import Against, Targets
from torchserve_saliency.responses.colormap import check_colormap
from torchserve_saliency.responses.explanation import RENDERS
from torchserve_saliency.schema import Boolean, Choice, Integer, Number, OptionType, option, option_types

ANSWER_FORMATS = ("json", "png", "npy")


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

    target: tuple[str | int | Rank, ...] = option((Rank(0),), Targets(), "classes to explain")
    against: str | int | None = option(None, Against(), "class whose score is subtracted from that of the target")
    method: str = option("gradient", Choice(tuple(METHODS), ALIASES), "attribution method")
    score: str = option("logit", Choice(SCORES), "scalar that is explained")
    reduce: str = option("max_abs", Choice(tuple(REDUCTIONS)), "how the channels are reduced to one map")
    polarity: str = option("both", Choice(tuple(POLARITIES)), "sign of the values that a signed map keeps")
    render: str = option("heatmap", Choice((*RENDERS, "none")), "how the map is drawn")
    space: str = option("input", Choice(("input", "original")), "pixel grid of the map: the crop or the picture sent")
    colormap: str | None = option(None, Colormap(), "Matplotlib colormap of the drawn map")
    alpha: float = option(0.6, Number(0, 1), "opacity of an overlay")
    clip: float = option(99.5, Number(0, 100), "percentile of the map at the upper end of the colormap")
    floor: float = option(0.0, Number(0, 100), "percentile of the map at the lower end of the colormap")
    format: str = option("json", Choice(ANSWER_FORMATS), "format of the answer")
    top_k: int = option(5, Integer(1, 100), "number of predictions")
    quality: bool = option(False, Boolean(), "faithfulness scores of each map")
    explain: bool = option(False, Boolean(), "an explanation on the predictions route")


OPTIONS: Mapping[str, OptionType] = MappingProxyType(option_types(Options))
# The methods that have each parameter.
PARAMETERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(method for method, entry in METHODS.items() if name in option_types(entry.parameters))
        for entry in METHODS.values()
        for name in option_types(entry.parameters)
    }
)

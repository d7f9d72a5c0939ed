"""The result of one request, with everything that rendering and encoding need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.images.preprocessing import Picture
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.quality.judged import Quality

Scalar = str | int | float | bool | None
RENDERS = ("heatmap", "overlay", "side_by_side", "masked", "contours")
BACKDROPS = ("grey", "color")


@dataclass(frozen=True)
class Prediction:
    """A class, with the network's output for it; `unique_label` differs from `label` if two classes have that label."""

    index: int
    label: str
    probability: float
    logit: float
    unique_label: str = ""


@dataclass(frozen=True)
class TargetMap:
    """The saliency of one target: float32 [H, W], or [C, H, W] with `reduce=none`, on the pixels of the view's space.

    If the method shows the channels of a layer, it is [K, h, w]. `findings` are further JSON values of the method.
    """

    target: Prediction
    against: Prediction | None
    saliency: NDArray[np.float32]
    findings: Mapping[str, Any] = field(default_factory=dict)
    quality: Quality | None = None


@dataclass(frozen=True)
class View:
    """How a map is drawn.

    `floor` and `clip` are the percentiles at the lower and upper end of the colours. `backdrop` is the picture under an
    overlay: `grey`, or in its own `color`. `caption` adds the class, the method and the colour scale.
    """

    render: str = "heatmap"
    space: str = "input"
    colormap: str | None = None
    alpha: float = 0.6
    clip: float = 99.5
    floor: float = 0.0
    backdrop: str = "grey"
    caption: bool = False


@dataclass(frozen=True)
class Explanation:
    """The predictions for the original picture, best first, and one map per target.

    `sanity` is the warning of the archive's sanity test about the method, or None.
    """

    model: str
    version: str
    predictions: tuple[Prediction, ...]
    maps: tuple[TargetMap, ...]
    method: str
    parameters: Mapping[str, Scalar]
    picture: Picture
    view: View
    format: str = "json"
    shows: Shows = Shows.SALIENCY
    sanity: str | None = None

    def empty_map(self) -> NDArray[np.float32]:
        """Return a map of zeros in the shape of this explanation's maps, which it may have none of."""
        height, width = self.picture.spec.size
        if self.view.space == "original":
            width, height = self.picture.original.size
        channels = (self.picture.spec.channels,) if self.parameters.get("reduce") == "none" else ()
        return np.zeros((*channels, height, width), np.float32)


Outcome = Explanation | tuple[Prediction, ...]

"""The answer to one request, complete: all that rendering and encoding need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency.image import Picture
from saliency.methods.base import Shows
from saliency.quality.base import Quality

Scalar = str | int | float | bool | None
RENDERS = ("heatmap", "overlay", "side_by_side", "masked", "contours")


@dataclass(frozen=True)
class Prediction:
    """One class and what the network says of it."""

    index: int
    label: str
    probability: float
    logit: float


@dataclass(frozen=True)
class TargetMap:
    """One target's saliency: float32 [H, W], or [C, H, W] with `reduce=none`, in the input's or the original space.

    A sheet's are the channels of a layer, [K, h, w]. `findings` are JSON values.
    """

    target: Prediction
    against: Prediction | None
    saliency: NDArray[np.float32]
    findings: Mapping[str, Any] = field(default_factory=dict)
    quality: Quality | None = None


@dataclass(frozen=True)
class View:
    """How a map is shown; `clip` and `floor` are the upper and lower percentile that the colours span."""

    render: str = "heatmap"
    space: str = "input"
    colormap: str | None = None
    alpha: float = 0.6
    clip: float = 99.5
    floor: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """Predictions of the clean picture (best first) and one map a target.

    `sanity` says what the archive's sanity test found against the method, None where it found nothing.
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

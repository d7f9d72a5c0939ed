"""XRAI: regions of the picture, ranked by their mean attribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.images.superpixels import segments
from torchserve_saliency.methods.base import MOST_PASSES, Cost, Maps, Method, Steps, Subject, to_picture
from torchserve_saliency.methods.baselines import baseline
from torchserve_saliency.methods.gradient.integrated_gradients import straight_path
from torchserve_saliency.methods.gradient.path_attribution import sum_along_path
from torchserve_saliency.schema import Choice, Integer, option

# The paper uses Felzenszwalb's segmentation at six scales; TorchServe's image has no package for it. SLIC superpixels
# at five scales, from parts to whole objects, overlap in the same way and follow the same edges.
SEGMENT_COUNTS = (100, 50, 25, 12, 6)
PATH_STARTS = ("black", "white")

LabelMap = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Xrai:
    """The paths of integrated gradients, and the ranking of regions."""

    steps: int = option(
        25,
        Integer(1, MOST_PASSES // 2),
        "Points on each of two paths, from black and from white; more are more exact",
        unit="points",
    )
    algorithm: str = option(
        "full",
        Choice(("full", "fast")),
        "How regions are ranked: by the part not ranked yet (full), or as a whole (fast)",
    )


def _cost(p: Xrai, spec: InputSpec) -> Cost:
    """Return a forward pass of the picture, and one forward and backward pass per point of both paths."""
    return Cost(1 + 2 * p.steps, 2 * p.steps)


def xrai(subject: Subject, p: Xrai) -> Steps:
    """Share of the picture that is not ranked above the pixel's region, [T, 1, H, W] (Kapishnikov et al. 2019).

    Values above 0.9 are the most important tenth of the picture. Regions are superpixels of several sizes, ranked by
    their mean attribution: integrated gradients, averaged over the baselines black and white. The maximum over the
    channels is the attribution of a pixel, as in the authors' code, because sums cancel within a region.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    total = torch.zeros(())
    for name in PATH_STARTS:
        start = baseline(name, subject.x, subject.spec)
        maps = yield from sum_along_path(straight_path(subject.x, start, p.steps), objective)
        total = total + maps.double().cpu() / len(PATH_STARTS)
    picture = to_picture(subject)
    segmentations = [segments(picture, count).numpy() for count in SEGMENT_COUNTS]
    ranks = [rank_regions(values.numpy(), segmentations, p.algorithm == "full") for values in total.amax(1)]
    return Maps(torch.from_numpy(np.stack(ranks))[:, None].to(subject.x))


def rank_regions(attribution: Values, segmentations: Sequence[LabelMap], full: bool = True) -> Values:
    """Return for each pixel the share [H, W] of the picture that is not ranked above it.

    Each of `segmentations` labels every pixel. Regions are ranked one by one, largest mean attribution first. If
    `full`, the mean is over the region's pixels that are not ranked yet, otherwise over all its pixels.
    """
    values, regions = attribution.ravel(), _region_numbers(segmentations)
    sizes = np.bincount(regions.ravel())
    sums = np.bincount(regions.ravel(), np.tile(values, len(regions)))
    members = np.split(regions.argsort(axis=None, kind="stable") % values.size, sizes.cumsum()[:-1])
    unranked, ranks = np.ones(values.size, bool), np.zeros(values.size)
    while unranked.any():
        best = int(np.where(sizes > 0, sums / np.maximum(sizes, 1), -np.inf).argmax())
        new = members[best][unranked[members[best]]]
        ranks[new], unranked[new] = unranked.mean(), False
        sizes[best] = 0
        if full:
            smaller = regions[:, new].ravel()
            sizes = np.maximum(sizes - np.bincount(smaller, minlength=sizes.size), 0)
            sums = sums - np.bincount(smaller, np.tile(values[new], len(regions)), sizes.size)
    return ranks.reshape(attribution.shape)


def _region_numbers(segmentations: Sequence[LabelMap]) -> LabelMap:
    """Return the region of each pixel in each of n segmentations, [n, H * W], numbered across all segmentations."""
    counts = [int(labels.max()) + 1 for labels in segmentations]
    starts = np.cumsum([0, *counts[:-1]])
    return np.stack([labels.ravel() + start for labels, start in zip(segmentations, starts, strict=True)])


XRAI_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "xrai": Method(
            xrai,
            Xrai,
            "Kapishnikov et al. 2019, arXiv:1906.02825",
            "All regions of the picture, ranked by how much they add to the score",
            cost=_cost,
        )
    }
)

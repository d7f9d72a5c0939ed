"""Regions of the picture, ranked by the attribution that they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from saliency.image import InputSpec
from saliency.methods.base import MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline
from saliency.methods.completeness import attributed
from saliency.methods.masking import shown
from saliency.methods.paths import straight
from saliency.rows import Rows
from saliency.schema import Choice, Integer, option
from saliency.superpixels import segments

# The paper cuts with Felzenszwalb's graphs at six scales, which the stock image has no package for; superpixels at
# five scales, from parts to whole objects, overlap as these do, and follow the same edges.
COUNTS = (100, 50, 25, 12, 6)
PATHS_FROM = ("black", "white")

Labels = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Xrai:
    """The paths of integrated gradients, and how regions are ranked."""

    steps: int = option(25, Integer(1, MOST_PASSES // 2), "points on each of two paths, a backward pass each")
    algorithm: str = option("full", Choice(("full", "fast")), "rank what regions add (full), or whole regions (fast)")


def _cost(p: Xrai, spec: InputSpec) -> Cost:
    """Return the clean picture, and the points of both paths with their gradients."""
    return Cost(1 + 2 * p.steps, 2 * p.steps)


def xrai(subject: Subject, p: Xrai) -> Steps:
    """Share of the picture that is ranked no higher than a pixel's region (Kapishnikov et al. 2019).

    Regions are superpixels of several sizes, joined one by one by their mean of integrated gradients from black and
    from white: what is above 0.9 is the most important tenth of the picture. Of a pixel's channels the greatest counts,
    as in the authors' code: sums cancel within a region, and their ranking falls into pieces.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    total = torch.zeros(())
    for name in PATHS_FROM:
        start = baseline(name, subject.x, subject.spec)
        maps = yield from attributed(straight(subject.x, start, p.steps), objective)
        total = total + maps.double().cpu() / len(PATHS_FROM)
    picture = shown(subject)
    cuts = [segments(picture, count).numpy() for count in COUNTS]
    ranks = [ranked(values.numpy(), cuts, p.algorithm == "full") for values in total.amax(1)]
    return Maps(torch.from_numpy(np.stack(ranks))[:, None].to(subject.x))


def ranked(attribution: Values, cuts: Sequence[Labels], full: bool = True) -> Values:
    """Return the share of the picture [H, W] that comes no sooner than a pixel, regions by mean attribution first.

    Each of `cuts` labels all pixels. A region counts with its pixels that have not come yet if `full`, else with all.
    """
    values, owners = attribution.ravel(), _owners(cuts)
    sizes = np.bincount(owners.ravel())
    sums = np.bincount(owners.ravel(), np.tile(values, len(owners)))
    members = np.split(owners.argsort(axis=None, kind="stable") % values.size, sizes.cumsum()[:-1])
    left, ranks = np.ones(values.size, bool), np.zeros(values.size)
    while left.any():
        best = int(np.where(sizes > 0, sums / np.maximum(sizes, 1), -np.inf).argmax())
        new = members[best][left[members[best]]]
        ranks[new], left[new] = left.mean(), False
        sizes[best] = 0
        if full:
            gone = owners[:, new].ravel()
            sizes = np.maximum(sizes - np.bincount(gone, minlength=sizes.size), 0)
            sums = sums - np.bincount(gone, np.tile(values[new], len(owners)), sizes.size)
    return ranks.reshape(attribution.shape)


def _owners(cuts: Sequence[Labels]) -> Labels:
    """Return the region of each pixel in each cut, [cuts, H * W], numbered through all cuts."""
    counts = [int(cut.max()) + 1 for cut in cuts]
    starts = np.cumsum([0, *counts[:-1]])
    return np.stack([cut.ravel() + start for cut, start in zip(cuts, starts, strict=True)])


XRAI: Mapping[str, Method] = MappingProxyType(
    {"xrai": Method(xrai, Xrai, "Kapishnikov et al. 2019, arXiv:1906.02825", cost=_cost)}
)

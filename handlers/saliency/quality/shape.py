"""What a map says without the network: how few pixels hold it, and whether it adds up."""

from __future__ import annotations

import torch
from torch import Tensor

from saliency.quality.base import Judged, Marks

TOP = 0.1  # of the pixels


def sparseness(judged: Judged) -> Marks:
    """Gini index of a map's magnitudes (Chalasani et al. 2020): 0 for an even map, near 1 for a single pixel."""
    yield from ()
    return _each(gini(_magnitudes(judged)), judged)


def gini(magnitudes: Tensor) -> Tensor:
    """Return the Gini index [M] of rows [M, n] of magnitudes, NaN for a row of zeros."""
    ordered = magnitudes.sort(1).values
    count = ordered.shape[1]
    weights = 2 * torch.arange(1, count + 1, dtype=ordered.dtype) - count - 1
    return (ordered * weights).sum(1) / (count * ordered.sum(1))


def top_share(judged: Judged) -> Marks:
    """Share of a map's magnitude that its strongest tenth of the pixels holds: 0.1 for an even map, at most 1."""
    yield from ()
    magnitudes = _magnitudes(judged)
    count = max(1, round(TOP * magnitudes.shape[1]))
    return _each(magnitudes.topk(count, dim=1).values.sum(1) / magnitudes.sum(1), judged)


def completeness_gap(judged: Judged) -> Marks:
    """Sum of a map less the difference in score that it shares out (Sundararajan et al. 2017), as the method found it.

    The random map is given the norm of each target's own.
    """
    yield from ()
    maps, targets = len(judged.values), len(judged.pairs)
    found = torch.full((maps, targets), torch.nan, dtype=torch.float64)
    for t, finding in enumerate(judged.findings):
        if "completeness_gap" in finding and "score_difference" in finding:
            found[t, t] = finding["completeness_gap"]
            for other in range(targets, maps):
                found[other, t] = _total(judged.values[other], judged.values[t]) - finding["score_difference"]
    return found


def _total(values: Tensor, like: Tensor) -> float:
    """Return the sum of values scaled to the norm of others."""
    return float(values.double().sum() * like.double().norm() / values.double().norm())


def _magnitudes(judged: Judged) -> Tensor:
    """Return the magnitudes [M, n] of the maps as shown, in float64 on the CPU."""
    return judged.shown.flatten(1).abs().double().cpu()


def _each(figures: Tensor, judged: Judged) -> Tensor:
    """Return figures [M] of maps alone as those for every target [M, T]."""
    return figures[:, None].expand(-1, len(judged.pairs))

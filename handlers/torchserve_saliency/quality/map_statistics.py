"""Scores of a map that need no forward pass: its sparseness, and its completeness gap."""

from __future__ import annotations

import torch
from torch import Tensor

from torchserve_saliency.quality.judged import Judged, ScoreSteps

TOP = 0.1  # share of the pixels


def sparseness(judged: Judged) -> ScoreSteps:
    """Gini index of a map's magnitudes (Chalasani et al. 2020): 0 for a constant map, near 1 for a single pixel."""
    yield from ()
    return _for_every_target(gini(_magnitudes(judged)), judged)


def gini(magnitudes: Tensor) -> Tensor:
    """Return the Gini index [M] of rows [M, n] of magnitudes, NaN for a row of zeros."""
    ordered = magnitudes.sort(1).values
    count = ordered.shape[1]
    weights = 2 * torch.arange(1, count + 1, dtype=ordered.dtype) - count - 1
    return (ordered * weights).sum(1) / (count * ordered.sum(1))


def top_share(judged: Judged) -> ScoreSteps:
    """Share of a map's total magnitude in its strongest tenth of the pixels: 0.1 for a constant map, at most 1."""
    yield from ()
    magnitudes = _magnitudes(judged)
    count = max(1, round(TOP * magnitudes.shape[1]))
    return _for_every_target(magnitudes.topk(count, dim=1).values.sum(1) / magnitudes.sum(1), judged)


def completeness_gap(judged: Judged) -> ScoreSteps:
    """Sum of a map minus the difference in score that it explains, as found by the method (Sundararajan et al. 2017).

    For the random map it is computed here, after scaling the map to the norm of the target's own map. The score is NaN
    if the method does not report `completeness_gap`.
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
    """Return the sum of `values`, scaled to the norm of `like`."""
    return float(values.double().sum() * like.double().norm() / values.double().norm())


def _magnitudes(judged: Judged) -> Tensor:
    """Return the magnitudes [M, n] of the maps as shown, in float64 on the CPU."""
    return judged.shown.flatten(1).abs().double().cpu()


def _for_every_target(scores: Tensor, judged: Judged) -> Tensor:
    """Return scores [M] that do not depend on the target as [M, T]."""
    return scores[:, None].expand(-1, len(judged.pairs))

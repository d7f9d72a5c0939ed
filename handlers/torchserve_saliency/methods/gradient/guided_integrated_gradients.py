"""Guided integrated gradients: the path first moves the features with the smallest gradients."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import MOST_PASSES, Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import baseline, baseline_option, seed_option
from torchserve_saliency.methods.gradient.path_attribution import completeness_findings, evaluate_ends
from torchserve_saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class GuidedIntegratedGradients:
    """The start of the path, its number of points, and its largest deviation from a straight line."""

    steps: int = option(
        50,
        Integer(1, MOST_PASSES),
        "Points on the way from an empty picture to this one; more are more exact",
        unit="points",
    )
    fraction: float = option(
        0.25, Number(0.01, 1), "Fraction of the pixel values to change at a time, weakest effect first"
    )
    max_dist: float = option(0.02, Number(0, 1), "Largest distance from the straight path, as a fraction of its length")
    baseline: str = baseline_option()
    seed: int = seed_option()


def _cost(p: GuidedIntegratedGradients, spec: InputSpec) -> Cost:
    """Return forward passes of the picture and the baseline, and both passes per point for each target."""
    return Cost(2, p.steps, per_target=p.steps)


def guided_integrated_gradients(subject: Subject, p: GuidedIntegratedGradients) -> Steps:
    """Sum of gradient times move over a path that is guided by the gradients, [T, C, H, W] (Kapishnikov et al. 2021).

    Each target has its own path: at every step, the features with the smallest gradients move first. The findings are
    `score_difference`, score(input) - score(baseline), and `completeness_gap`, the sum of the map minus that
    difference.
    """
    start = baseline(p.baseline, subject.x, subject.spec, p.seed)
    clean, start_logits, objective = yield from evaluate_ends(subject, start)
    pairs = clean.pairs[0]
    maps = subject.x.new_empty(len(pairs), *subject.x.shape[1:])
    for row, pair in enumerate(pairs):
        maps[row] = yield from _follow_path(subject.x, start, replace(objective, targets=pair[:1], pairs=(pair,)), p)
    return Maps(maps, completeness_findings(maps, clean.logits[0], start_logits, objective))


def _follow_path(
    x: Tensor, start: Tensor, objective: Objective, p: GuidedIntegratedGradients
) -> Generator[Rows, Answer, Tensor]:
    """Return the sum [C, H, W] of gradient times move along the path of one target."""
    way = x - start
    share = torch.zeros_like(x)
    total = torch.zeros_like(x)
    for step in range(p.steps):
        answer = yield Rows(start + share * way, objective)
        grad = answer.grad[0].to(x)
        moved = _advance(share, grad.abs(), way.abs(), (step + 1) / p.steps, p)
        total = total + (moved - share) * way * grad
        share = moved
    return total[0]


def _advance(share: Tensor, steepness: Tensor, length: Tensor, goal: float, p: GuidedIntegratedGradients) -> Tensor:
    """Return the share of its way that each feature has gone after a step, given the share before it.

    `length` is the length of each feature's way, and `goal` the share of the total length that all features together
    have gone after the step. Features with the smallest gradient (`steepness`) move first, `fraction` of all features
    at a time, each to at most `max_dist` ahead of the goal. The last ones move only as far as the goal requires. No
    feature stays more than `max_dist` behind the goal.
    """
    least, most = max(goal - p.max_dist, 0.0), min(goal + p.max_dist, 1.0)
    share = share.clamp_min(least)
    left = float((length * (goal - share)).sum())
    waiting = torch.where((share < most) & (length > 0), steepness, torch.inf)
    count = int(p.fraction * (share.numel() - 1)) + 1
    while left > 0:
        chosen = (waiting <= waiting.flatten().kthvalue(count).values) & (waiting < torch.inf)
        room = float((length * (most - share))[chosen].sum())
        if not room > 0:  # no feature is waiting, and the rest is rounding error
            break
        if room >= left:
            return torch.where(chosen, share + (most - share) * (left / room), share)
        share = torch.where(chosen, most, share)
        waiting = torch.where(chosen, torch.inf, waiting)
        left -= room
    return share


GUIDED_INTEGRATED_GRADIENTS_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "guided_integrated_gradients": Method(
            guided_integrated_gradients,
            GuidedIntegratedGradients,
            "Kapishnikov et al. 2021, arXiv:2106.09788",
            "How much each pixel adds to the score, along a path that avoids noise",
            cost=_cost,
        ),
    }
)

"""Integrated gradients along a path that goes first where the score hardly changes."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline, baseline_option, seed_option
from saliency.methods.completeness import completeness, ends
from saliency.objective import Objective
from saliency.rows import Answer, Rows
from saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class GuidedIntegratedGradients:
    """Where the path starts, how freely it may bend, and in how many steps."""

    steps: int = option(50, Integer(1, MOST_PASSES), "points on the path")
    fraction: float = option(0.25, Number(0.01, 1), "share of the features, those of least gradient, moved at a time")
    max_dist: float = option(0.02, Number(0, 1), "how far a feature may be ahead or behind, of its whole way")
    baseline: str = baseline_option()
    seed: int = seed_option()


def _cost(p: GuidedIntegratedGradients, spec: InputSpec) -> Cost:
    """Return the clean picture and the baseline, and each target's own points with their gradients."""
    return Cost(2, p.steps, per_target=p.steps)


def guided_integrated_gradients(subject: Subject, p: GuidedIntegratedGradients) -> Steps:
    """Gradients times the steps of a path on which the features of least gradient go first (Kapishnikov et al. 2021).

    Each target has a path of its own, whose next point its last gradient decides. The finding `completeness_gap` is
    the sum of the map minus score(input) - score(baseline).
    """
    start = baseline(p.baseline, subject.x, subject.spec, p.seed)
    clean, there, objective = yield from ends(subject, start)
    pairs, score = clean.pairs[0], objective.score
    maps = subject.x.new_empty(len(pairs), *subject.x.shape[1:])
    for row, pair in enumerate(pairs):
        maps[row] = yield from _followed(subject.x, start, Objective((pair[0],), None, score, (pair,)), p)
    return Maps(maps, completeness(maps, clean.logits[0], there, pairs, score))


def _followed(
    x: Tensor, start: Tensor, objective: Objective, p: GuidedIntegratedGradients
) -> Generator[Rows, Answer, Tensor]:
    """Return the sum [C, H, W] of gradient times move along the path of one target."""
    way = x - start
    share = torch.zeros_like(x)
    total = torch.zeros_like(x)
    for step in range(p.steps):
        answer = yield Rows(start + share * way, objective)
        grad = answer.grad[0].to(x)
        moved = _moved(share, grad.abs(), way.abs(), (step + 1) / p.steps, p)
        total = total + (moved - share) * way * grad
        share = moved
    return total[0]


def _moved(share: Tensor, steepness: Tensor, length: Tensor, goal: float, p: GuidedIntegratedGradients) -> Tensor:
    """Return what share of its way, of that `length`, each feature has gone once `goal` of all ways is gone together.

    The least steep go first, as far as they may, `fraction` of all features at a time, and the last ones only as far
    as it takes. None may be more than `max_dist` away from the goal.
    """
    least, most = max(goal - p.max_dist, 0.0), min(goal + p.max_dist, 1.0)
    share = share.clamp_min(least)
    left = float((length * (goal - share)).sum())
    waiting = torch.where((share < most) & (length > 0), steepness, torch.inf)
    count = int(p.fraction * (share.numel() - 1)) + 1
    while left > 0:
        chosen = (waiting <= waiting.flatten().kthvalue(count).values) & (waiting < torch.inf)
        room = float((length * (most - share))[chosen].sum())
        if not room > 0:  # none is waiting, and what is left is rounding
            break
        if room >= left:
            return torch.where(chosen, share + (most - share) * (left / room), share)
        share = torch.where(chosen, most, share)
        waiting = torch.where(chosen, torch.inf, waiting)
        left -= room
    return share


GUIDED_PATH: Mapping[str, Method] = MappingProxyType(
    {
        "guided_integrated_gradients": Method(
            guided_integrated_gradients,
            GuidedIntegratedGradients,
            "Kapishnikov et al. 2021, arXiv:2106.09788",
            cost=_cost,
        ),
    }
)

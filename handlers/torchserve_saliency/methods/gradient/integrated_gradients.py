"""Integrated gradients along the straight path from a baseline to the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import baseline, baseline_option, seed_option
from torchserve_saliency.methods.gradient.path_attribution import completeness_findings, evaluate_ends, sum_along_path
from torchserve_saliency.schema import Integer, option


@dataclass(frozen=True)
class IntegratedGradients:
    """The start of the path, and the number of points of Gauss-Legendre quadrature on it."""

    steps: int = option(
        50,
        Integer(1, MOST_PASSES),
        "Points on the way from an empty picture to this one; more are more exact",
        unit="points",
    )
    baseline: str = baseline_option()
    seed: int = seed_option()


def _integrated_gradients_cost(p: IntegratedGradients, spec: InputSpec) -> Cost:
    """Return forward passes of both ends of the path, and one forward and backward pass per point."""
    return Cost(2 + p.steps, p.steps)


def integrated_gradients(subject: Subject, p: IntegratedGradients) -> Steps:
    """(Input - baseline) times the mean gradient on the straight path between them, [T, C, H, W].

    Sundararajan et al. 2017. The findings are `score_difference`, score(input) - score(baseline), and
    `completeness_gap`, the sum of the map minus that difference, which is 0 for the exact integral.
    """
    start = baseline(p.baseline, subject.x, subject.spec, p.seed)
    clean, start_logits, objective = yield from evaluate_ends(subject, start)
    maps = yield from sum_along_path(straight_path(subject.x, start, p.steps), objective)
    return Maps(maps, completeness_findings(maps, clean.logits[0], start_logits, objective))


def straight_path(x: Tensor, start: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the points of Gauss-Legendre quadrature and their weights times (x - start), [n, C, H, W] each."""
    nodes, weights = (torch.from_numpy(v / 2).to(x).view(-1, 1, 1, 1) for v in np.polynomial.legendre.leggauss(steps))
    for alpha, weight in zip((nodes + 0.5).split(CHUNK), weights.split(CHUNK), strict=True):
        yield start + alpha * (x - start), weight * (x - start)


INTEGRATED_GRADIENTS_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "integrated_gradients": Method(
            integrated_gradients,
            IntegratedGradients,
            "Sundararajan et al. 2017, arXiv:1703.01365",
            "How much each pixel adds to the score, from an empty picture to this one",
            cost=_integrated_gradients_cost,
        ),
    }
)

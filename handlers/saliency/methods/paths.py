"""Methods that average gradients over the points of a straight path from a baseline to the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline, baseline_option, seed_option
from saliency.methods.completeness import attributed, completeness, ends
from saliency.schema import Integer, option


@dataclass(frozen=True)
class IntegratedGradients:
    """The path: its start, and the points of Gauss-Legendre quadrature on it."""

    steps: int = option(50, Integer(1, MOST_PASSES), "points on the path")
    baseline: str = baseline_option()
    seed: int = seed_option()


def _integrated_gradients_cost(p: IntegratedGradients, spec: InputSpec) -> Cost:
    """Return the path's two ends, and its points with their gradients."""
    return Cost(2 + p.steps, p.steps)


def integrated_gradients(subject: Subject, p: IntegratedGradients) -> Steps:
    """Input minus baseline, times the mean gradient on the straight path between (Sundararajan et al. 2017).

    The finding `completeness_gap` is the sum of the map minus score(input) - score(baseline): 0 for the exact integral.
    """
    start = baseline(p.baseline, subject.x, subject.spec, p.seed)
    clean, there, objective = yield from ends(subject, start)
    maps = yield from attributed(straight(subject.x, start, p.steps), objective)
    return Maps(maps, completeness(maps, clean.logits[0], there, clean.pairs[0], objective.score))


def straight(x: Tensor, start: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the points of Gauss-Legendre quadrature, and the part of the way for which each stands, [n, C, H, W]."""
    nodes, weights = (torch.from_numpy(v / 2).to(x).view(-1, 1, 1, 1) for v in np.polynomial.legendre.leggauss(steps))
    for alpha, weight in zip((nodes + 0.5).split(CHUNK), weights.split(CHUNK), strict=True):
        yield start + alpha * (x - start), weight * (x - start)


PATHS: Mapping[str, Method] = MappingProxyType(
    {
        "integrated_gradients": Method(
            integrated_gradients,
            IntegratedGradients,
            "Sundararajan et al. 2017, arXiv:1703.01365",
            cost=_integrated_gradients_cost,
        ),
    }
)

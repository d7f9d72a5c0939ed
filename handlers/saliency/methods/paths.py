"""Methods that average gradients over many inputs: noisy copies, points of a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline, baseline_option, seed_option, seeded
from saliency.methods.completeness import completeness
from saliency.rows import Rows
from saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class SmoothGrad:
    """Noisy copies, and how noisy."""

    samples: int = option(25, Integer(1, MOST_PASSES), "noisy copies")
    noise: float = option(0.15, Number(0, 10), "standard deviation as a fraction of the input's range")
    seed: int = seed_option()


def _smooth_grad_cost(p: SmoothGrad, spec: InputSpec) -> Cost:
    """Return the clean picture, and the noisy ones with their gradients."""
    return Cost(1 + p.samples, p.samples)


def smooth_grad(subject: Subject, p: SmoothGrad) -> Steps:
    """Mean signed gradient over noisy copies of the input (Smilkov et al. 2017)."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    generator = seeded(p.seed, subject.x)
    deviation = p.noise * (subject.x.max() - subject.x.min())
    total: Tensor | None = None
    for start in range(0, p.samples, CHUNK):
        count = min(CHUNK, p.samples - start)
        shape = count, *subject.x.shape[1:]
        noise = torch.randn(shape, generator=generator, dtype=subject.x.dtype, device=subject.x.device)
        answer = yield Rows(subject.x + deviation * noise, objective)
        part = answer.grad.sum(1)
        total = part if total is None else total + part
    assert total is not None
    return Maps(total / p.samples)


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
    ends = yield Rows(torch.cat([subject.x, start]), subject.objective, gradient=False)
    objective = subject.objective.fixed(ends.pairs[0])
    points, weights = np.polynomial.legendre.leggauss(p.steps)
    alphas = torch.from_numpy((points + 1) / 2).to(subject.x).view(-1, 1, 1, 1)
    mean: Tensor | None = None
    for alpha, weight in zip(alphas.split(CHUNK), torch.from_numpy(weights / 2).split(CHUNK), strict=True):
        answer = yield Rows(start + alpha * (subject.x - start), objective)
        grads = answer.grad
        part = torch.einsum("tnchw,n->tchw", grads, weight.to(grads))
        mean = part if mean is None else mean + part
    assert mean is not None
    maps = mean * (subject.x - start).to(mean)
    return Maps(
        maps,
        tuple(completeness(m, ends.logits, pair, objective.score) for m, pair in zip(maps, ends.pairs[0], strict=True)),
    )


PATHS: Mapping[str, Method] = MappingProxyType(
    {
        "smooth_grad": Method(smooth_grad, SmoothGrad, "Smilkov et al. 2017, arXiv:1706.03825", cost=_smooth_grad_cost),
        "integrated_gradients": Method(
            integrated_gradients,
            IntegratedGradients,
            "Sundararajan et al. 2017, arXiv:1703.01365",
            cost=_integrated_gradients_cost,
        ),
    }
)

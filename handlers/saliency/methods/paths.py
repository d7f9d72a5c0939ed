"""Methods that average gradients over many inputs: noisy copies, points of a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, Maps, Steps, Subject
from saliency.objective import evaluate
from saliency.rows import Rows
from saliency.schema import Choice, Integer, Number, option

MOST_PASSES = 500


@dataclass(frozen=True)
class SmoothGrad:
    """Noisy copies, and how noisy."""

    samples: int = option(25, Integer(1, MOST_PASSES), "noisy copies")
    noise: float = option(0.15, Number(0, 10), "standard deviation as a fraction of the input's range")
    seed: int = option(0, Integer(0, 2**31 - 1), "seed of the noise")


def smooth_grad(subject: Subject, p: SmoothGrad) -> Steps:
    """Mean signed gradient over noisy copies of the input (Smilkov et al. 2017)."""
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    generator = _seeded(p.seed, subject.x)
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
    baseline: str = option("zero", Choice(("zero", "black", "white", "blur", "uniform")), "where the path starts")
    seed: int = option(0, Integer(0, 2**31 - 1), "seed of the uniform baseline")


def integrated_gradients(subject: Subject, p: IntegratedGradients) -> Steps:
    """Input minus baseline, times the mean gradient on the straight path between (Sundararajan et al. 2017).

    The finding `completeness_gap` is the sum of the map minus score(input) - score(baseline): 0 for the exact integral.
    """
    start = BASELINES[p.baseline](subject.x, subject.spec, p.seed)
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
        tuple(
            _completeness(m, ends.logits, pair, objective.score) for m, pair in zip(maps, ends.pairs[0], strict=True)
        ),
    )


def _completeness(attribution: Tensor, ends: Tensor, pair: tuple[int, int], score: str) -> dict[str, float]:
    """Return how far a map's sum is from the difference in score between the path's ends, given their logits [2, K]."""
    difference = evaluate(ends[0], pair, score)[0] - evaluate(ends[1], pair, score)[0]
    return {
        "score_difference": difference,
        "completeness_gap": float(attribution.double().sum()) - difference,
    }


def _seeded(seed: int, like: Tensor) -> torch.Generator:
    """Return a generator on a tensor's device: a seed draws the same numbers again on the same kind of device."""
    return torch.Generator(like.device).manual_seed(seed)


def _pixel(value: float, x: Tensor, spec: InputSpec) -> Tensor:
    """Return an input of pixels that are all `value` in 0-1, normalised."""
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    return ((value - mean) / std).expand_as(x)


def _zero(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return torch.zeros_like(x)


def _black(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _pixel(0.0, x, spec)


def _white(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    return _pixel(1.0, x, spec)


def _blur(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    """Return the picture blurred until its objects are gone: a deviation of an eighth of the shorter side."""
    side = min(x.shape[2:])
    kernel = 2 * (side // 3) + 1 if side > 3 else 1
    blurred: Tensor = gaussian_blur(x, [kernel, kernel], [max(side / 8, 0.5)] * 2)
    return blurred


def _uniform(x: Tensor, spec: InputSpec, seed: int) -> Tensor:
    """Return pixels drawn evenly from black to white."""
    noise = torch.rand(x.shape, generator=_seeded(seed, x), dtype=x.dtype, device=x.device)
    black, white = _pixel(0.0, x, spec), _pixel(1.0, x, spec)
    return black + noise * (white - black)


Baseline = Callable[[Tensor, InputSpec, int], Tensor]
BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {"zero": _zero, "black": _black, "white": _white, "blur": _blur, "uniform": _uniform}
)

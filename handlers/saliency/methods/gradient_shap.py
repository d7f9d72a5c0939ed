"""Gradients at random points between random baselines and noisy copies of the input: an estimate of Shapley values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import UNIFORM, baseline_option, baselines, seed_option, seeded
from saliency.methods.completeness import attributed, completeness
from saliency.methods.noise import noisy_copies
from saliency.rows import Rows
from saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class GradientShap:
    """The random points, and the two ends that each lies between."""

    samples: int = option(50, Integer(1, MOST_PASSES), "random points")
    noise: float = option(0.0, Number(0, 10), "standard deviation as a fraction of the input's range")
    baseline: str = baseline_option()
    seed: int = seed_option()

    @property
    def starts(self) -> int:
        """Return how many baselines there are: one a sample where it is drawn."""
        return self.samples if self.baseline == UNIFORM else 1


def _cost(p: GradientShap, spec: InputSpec) -> Cost:
    """Return the clean picture, the baselines, and the points with their gradients."""
    return Cost(1 + p.starts + p.samples, p.samples)


def gradient_shap(subject: Subject, p: GradientShap) -> Steps:
    """Mean of gradient times (noisy input - baseline) at random points between the two (Lundberg and Lee 2017).

    The finding `completeness_gap` is the sum of the map minus score(input) - mean score(baselines): 0 for infinitely
    many samples without noise.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    logits: list[Tensor] = []
    for starts in _starts(subject, p, p.starts):
        answer = yield Rows(starts, objective, gradient=False)
        logits.append(answer.logits)
    maps = (yield from attributed(_points(subject, p), objective)) / p.samples
    return Maps(maps, completeness(maps, clean.logits[0], torch.cat(logits), clean.pairs[0], objective.score))


def _starts(subject: Subject, p: GradientShap, count: int) -> Iterator[Tensor]:
    """Yield that many baselines [n, C, H, W] a few at a time, the same ones each time."""
    draw = baselines(p.baseline, subject.x, subject.spec, seeded(p.seed, subject.x))
    for start in range(0, count, CHUNK):
        yield draw(min(CHUNK, count - start))


def _points(subject: Subject, p: GradientShap) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random points, and their noisy inputs minus their baselines, [n, C, H, W] each."""
    generator = seeded(p.seed + 1, subject.x)  # the baselines' own stream is drawn from twice
    copies = noisy_copies(subject.x, p.samples, p.noise, generator)
    for noisy, start in zip(copies, _starts(subject, p, p.samples), strict=True):
        share = torch.rand(len(noisy), 1, 1, 1, generator=generator, dtype=noisy.dtype, device=noisy.device)
        yield start + share * (noisy - start), noisy - start


GRADIENT_SHAP: Mapping[str, Method] = MappingProxyType(
    {
        "gradient_shap": Method(gradient_shap, GradientShap, "Lundberg and Lee 2017, arXiv:1705.07874", cost=_cost),
    }
)

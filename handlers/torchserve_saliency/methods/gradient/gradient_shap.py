"""Gradient SHAP: gradients at random points between baselines and noisy inputs, an estimate of Shapley values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import UNIFORM, baseline_option, baseline_sampler, seed_option, seeded
from torchserve_saliency.methods.gradient.path_attribution import completeness_findings, sum_along_path
from torchserve_saliency.methods.gradient.smooth_grad import noisy_copies
from torchserve_saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class GradientShap:
    """The number of random points, and the two ends that each point lies between."""

    samples: int = option(
        50,
        Integer(1, MOST_PASSES),
        "Random points between an empty picture and this one; more are more exact",
        unit="points",
    )
    noise: float = option(
        0.0, Number(0, 10), "Strength of the noise, as its standard deviation", unit="fraction of the input's range"
    )
    baseline: str = baseline_option()
    seed: int = seed_option()

    @property
    def starts(self) -> int:
        """Return the number of baselines: one per sample if they are random, otherwise one."""
        return self.samples if self.baseline == UNIFORM else 1


def _cost(p: GradientShap, spec: InputSpec) -> Cost:
    """Return forward passes of the picture and the baselines, and one forward and backward pass per point."""
    return Cost(1 + p.starts + p.samples, p.samples)


def gradient_shap(subject: Subject, p: GradientShap) -> Steps:
    """Mean of gradient times (noisy input - baseline) at random points between both, [T, C, H, W].

    Lundberg and Lee 2017. The findings are `score_difference`, score(input) - mean score(baselines), and
    `completeness_gap`, the sum of the map minus that difference; without noise, it tends to 0 as samples increase.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    logits: list[Tensor] = []
    for starts in _starts(subject, p, p.starts):
        answer = yield Rows(starts, objective, gradient=False)
        logits.append(answer.logits)
    maps = (yield from sum_along_path(_points(subject, p), objective)) / p.samples
    return Maps(maps, completeness_findings(maps, clean.logits[0], torch.cat(logits), objective))


def _starts(subject: Subject, p: GradientShap, count: int) -> Iterator[Tensor]:
    """Yield this many baselines in chunks [n, C, H, W], the same ones for every call."""
    draw = baseline_sampler(p.baseline, subject.x, subject.spec, seeded(p.seed, subject.x))
    for start in range(0, count, CHUNK):
        yield draw(min(CHUNK, count - start))


def _points(subject: Subject, p: GradientShap) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random points and their moves, noisy input - baseline, [n, C, H, W] each."""
    generator = seeded(p.seed + 1, subject.x)  # not the baselines' generator: `_starts` runs twice
    copies = noisy_copies(subject.x, p.samples, p.noise, generator)
    for noisy, start in zip(copies, _starts(subject, p, p.samples), strict=True):
        share = torch.rand(len(noisy), 1, 1, 1, generator=generator, dtype=noisy.dtype, device=noisy.device)
        yield start + share * (noisy - start), noisy - start


GRADIENT_SHAP_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "gradient_shap": Method(
            gradient_shap,
            GradientShap,
            "Lundberg and Lee 2017, arXiv:1705.07874",
            "How much each pixel adds to the score, averaged over many starting pictures",
            cost=_cost,
        ),
    }
)

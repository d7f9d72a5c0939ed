"""Integrated gradients along blur: from the picture without detail to the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from saliency.methods.blurring import ScaleSpace
from saliency.methods.completeness import attributed, completeness, ends
from saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class BlurIntegratedGradients:
    """How blurred the path begins, and its points."""

    steps: int = option(50, Integer(1, MOST_PASSES), "points on the path")
    max_sigma: float = option(50.0, Number(0.5, 500), "deviation of the widest blur in pixels")


def _cost(p: BlurIntegratedGradients, spec: InputSpec) -> Cost:
    """Return the path's two ends, and its points with their gradients."""
    return Cost(2 + p.steps, p.steps)


def blur_integrated_gradients(subject: Subject, p: BlurIntegratedGradients) -> Steps:
    """Gradients times what each step of deblurring adds, summed from the widest blur to the input (Xu et al. 2020).

    The blur's derivative is the finite difference over a step. The finding `completeness_gap` is the sum of the map
    minus score(input) - score(most blurred).
    """
    scales = ScaleSpace(subject.x)
    dullest = scales.at(torch.tensor([p.max_sigma], dtype=torch.float64))
    clean, there, objective = yield from ends(subject, dullest)
    maps = yield from attributed(_path(scales, p), objective)
    return Maps(maps, completeness(maps, clean.logits[0], there, clean.pairs[0], objective.score))


def _path(scales: ScaleSpace, p: BlurIntegratedGradients) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the points halfway along the steps, and what each step adds, [n, C, H, W] each, the sharpest first."""
    for start in range(0, p.steps, CHUNK):
        ends = torch.arange(start, min(start + CHUNK, p.steps) + 1, dtype=torch.float64)
        yield scales.at(_sigmas(ends[:-1] + 0.5, p)), scales.differences(_sigmas(ends, p))


def _sigmas(steps: Tensor, p: BlurIntegratedGradients) -> Tensor:
    """Return the deviations at so many steps from the input; narrow ones lie dense, as detail goes first."""
    return p.max_sigma * (steps / p.steps) ** 2


BLURRED: Mapping[str, Method] = MappingProxyType(
    {
        "blur_integrated_gradients": Method(
            blur_integrated_gradients, BlurIntegratedGradients, "Xu et al. 2020, arXiv:2004.03383", cost=_cost
        ),
    }
)

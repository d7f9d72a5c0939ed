"""Integrated gradients along a path of decreasing blur, from a strongly blurred picture to the picture itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.images.scale_space import ScaleSpace
from torchserve_saliency.methods.base import CHUNK, MOST_PASSES, Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.gradient.path_attribution import completeness_findings, evaluate_ends, sum_along_path
from torchserve_saliency.schema import Integer, Number, option


@dataclass(frozen=True)
class BlurIntegratedGradients:
    """The number of points on the path, and the blur at its start."""

    steps: int = option(
        50,
        Integer(1, MOST_PASSES),
        "Points on the way from a blurred picture to this one; more are more exact",
        unit="points",
    )
    max_sigma: float = option(50.0, Number(0.5, 500), "Width of the strongest blur", unit="pixels")


def _cost(p: BlurIntegratedGradients, spec: InputSpec) -> Cost:
    """Return forward passes of both ends of the path, and one forward and backward pass per point."""
    return Cost(2 + p.steps, p.steps)


def blur_integrated_gradients(subject: Subject, p: BlurIntegratedGradients) -> Steps:
    """Sum over the path of the gradient times the change of the picture in a step, [T, C, H, W] (Xu et al. 2020).

    The path leads from the strongest blur to the input. The findings are `score_difference`, score(input) -
    score(strongest blur), and `completeness_gap`, the sum of the map minus that difference.
    """
    scales = ScaleSpace(subject.x)
    most_blurred = scales.at(torch.tensor([p.max_sigma], dtype=torch.float64))
    clean, start_logits, objective = yield from evaluate_ends(subject, most_blurred)
    maps = yield from sum_along_path(_path(scales, p), objective)
    return Maps(maps, completeness_findings(maps, clean.logits[0], start_logits, objective))


def _path(scales: ScaleSpace, p: BlurIntegratedGradients) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the middle of each step and the change over the step, [n, C, H, W] each, sharpest first."""
    for start in range(0, p.steps, CHUNK):
        edges = torch.arange(start, min(start + CHUNK, p.steps) + 1, dtype=torch.float64)
        yield scales.at(_sigmas(edges[:-1] + 0.5, p)), scales.differences(_sigmas(edges, p))


def _sigmas(steps: Tensor, p: BlurIntegratedGradients) -> Tensor:
    """Return the standard deviations at these distances from the input, in steps; they grow with the square."""
    return p.max_sigma * (steps / p.steps) ** 2


BLUR_INTEGRATED_GRADIENTS_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "blur_integrated_gradients": Method(
            blur_integrated_gradients,
            BlurIntegratedGradients,
            "Xu et al. 2020, arXiv:2004.03383",
            "How much each pixel adds to the score while a blurred picture becomes sharp",
            cost=_cost,
        ),
    }
)

"""Deletion and insertion: the area under the target's probability while pixels are replaced in the order of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.methods.base import CHUNK
from torchserve_saliency.methods.baselines import baseline
from torchserve_saliency.quality.judged import Judged, ScoreSteps

STEPS = CHUNK  # steps of a curve, with equal numbers of pixels


def fill_input(name: str, judged: Judged) -> Tensor:
    """Return the input [1, C, H, W] that replaces pixels: the picture's mean colour, or a baseline such as its blur."""
    x = judged.subject.x
    return x.mean((2, 3), keepdim=True).expand_as(x) if name == "mean" else baseline(name, x, judged.subject.spec)


def deletion(judged: Judged, fill: str) -> ScoreSteps:
    """Area under the target's probability while pixels are replaced, highest value first; low is good.

    Petsiuk et al. 2018. The curve leads from the picture to the fill in STEPS steps.
    """
    return _curve_areas(judged, judged.subject.x, fill_input(fill, judged), clean_first=True)


def insertion(judged: Judged, fill: str) -> ScoreSteps:
    """Area under the target's probability while pixels are restored, highest value first; high is good.

    Petsiuk et al. 2018. The curve leads from the fill to the picture in STEPS steps.
    """
    return _curve_areas(judged, fill_input(fill, judged), judged.subject.x, clean_first=False)


def _curve_areas(judged: Judged, before: Tensor, after: Tensor, clean_first: bool) -> ScoreSteps:
    """Return the areas [M, T] under the curves from `before` to `after`, with STEPS rows per map."""
    pixels = before.shape[2] * before.shape[3]
    counts = torch.arange(STEPS + 1, device=before.device) * pixels // STEPS
    unknown = counts[1:] if clean_first else counts[:-1]  # the logits of the clean picture are known already
    clean = judged.probabilities(judged.logits[None])
    areas = []
    for ranks in judged.ranks:
        answer = yield Rows(torch.where((ranks < unknown.view(-1, 1, 1))[:, None], after, before))
        others = judged.probabilities(answer.logits)
        curve = torch.cat([clean, others] if clean_first else [others, clean])
        areas.append(torch.trapezoid(curve, (counts.cpu().double() / pixels)[:, None], dim=0))
    return torch.stack(areas)

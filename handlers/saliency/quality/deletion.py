"""Deletion and insertion: how the class's probability falls and rises as pixels go and come in a map's order."""

from __future__ import annotations

import torch
from torch import Tensor

from saliency.methods.base import CHUNK
from saliency.methods.baselines import baseline
from saliency.quality.base import Judged, Marks
from saliency.rows import Rows

STEPS = CHUNK  # of a curve, in equal shares of the pixels


def filling(name: str, judged: Judged) -> Tensor:
    """Return what takes the place of pixels [1, C, H, W]: the picture's mean colour, or the picture blurred."""
    x = judged.subject.x
    return x.mean((2, 3), keepdim=True).expand_as(x) if name == "mean" else baseline(name, x, judged.subject.spec)


def deletion(judged: Judged, fill: str) -> Marks:
    """Area under the target's probability while the map's first pixels are replaced (Petsiuk et al. 2018); low is good.

    The curve goes from the picture to its baseline in STEPS steps.
    """
    return _areas(judged, judged.subject.x, filling(fill, judged), clean_first=True)


def insertion(judged: Judged, fill: str) -> Marks:
    """Area under the target's probability while the map's first pixels return (Petsiuk et al. 2018); high is good.

    The curve goes from the baseline to the picture in STEPS steps.
    """
    return _areas(judged, filling(fill, judged), judged.subject.x, clean_first=False)


def _areas(judged: Judged, before: Tensor, after: Tensor, clean_first: bool) -> Marks:
    """Return the areas [M, T] under the curves from `before` to `after`, STEPS rows a map."""
    pixels = before.shape[2] * before.shape[3]
    counts = torch.arange(STEPS + 1, device=before.device) * pixels // STEPS
    rows = counts[1:] if clean_first else counts[:-1]
    clean = judged.probabilities(judged.logits[None])
    areas = []
    for place in judged.places:
        answer = yield Rows(torch.where((place < rows.view(-1, 1, 1))[:, None], after, before))
        found = judged.probabilities(answer.logits)
        curve = torch.cat([clean, found] if clean_first else [found, clean])
        areas.append(torch.trapezoid(curve, (counts.cpu().double() / pixels)[:, None], dim=0))
    return torch.stack(areas)

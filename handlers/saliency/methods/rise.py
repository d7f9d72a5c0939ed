"""Random smooth masks, and the scores of what they leave to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.errors import bad_option
from saliency.image import InputSpec
from saliency.methods.base import CHUNK, Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline, baseline_option, seed_option
from saliency.methods.masking import drawn
from saliency.rows import Rows
from saliency.schema import Integer, Number, option

_MOST_MASKS = 8000  # as many as the paper takes for a ResNet-50


@dataclass(frozen=True)
class Rise:
    """The masks: how many, how fine, how much they show, and what they show of the rest."""

    samples: int = option(400, Integer(2, _MOST_MASKS), "masks, a forward pass each; the paper takes 4000 and more")
    cells: int = option(7, Integer(1, 64), "cells of a mask along each side")
    probability: float = option(0.5, Number(0.01, 0.99), "that a cell is shown")
    baseline: str = baseline_option()
    seed: int = seed_option()


def _fit(p: Rise, spec: InputSpec) -> Rise:
    """Return the parameters; a 400 where a cell would be smaller than a pixel."""
    if p.cells > min(spec.size):
        raise bad_option("cells", f"'cells' must be at most {min(spec.size)}, the shorter side, not {p.cells}")
    return p


def _cost(p: Rise, spec: InputSpec) -> Cost:
    """Return the clean picture and the masked ones."""
    return Cost(1 + p.samples)


def rise(subject: Subject, p: Rise) -> Steps:
    """Score expected where a pixel is seen (Petsiuk et al. 2018), over that of the least important pixel.

    The paper's sum of masks by their scores, with the mean score taken off the scores: the expectation is the same up
    to a constant, of which 400 masks would leave more noise than signal, and with logits also the wrong sign. The
    finding `mean_score` is that mean.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    absent = baseline(p.baseline, subject.x, subject.spec, p.seed)
    size, generator = (int(subject.x.shape[2]), int(subject.x.shape[3])), drawn(p.seed)
    weighted, seen, found = torch.zeros(()), torch.zeros(()), []
    for start in range(0, p.samples, CHUNK):
        shown = masks(min(CHUNK, p.samples - start), p, size, generator).to(subject.x)
        answer = yield Rows(absent + shown * (subject.x - absent), objective, gradient=False)
        weighted = weighted + torch.einsum("tn,nhw->thw", answer.scores.to(shown), shown[:, 0])
        seen = seen + shown.sum(0)
        found.append(answer.scores)
    mean = torch.cat(found, 1).mean(1)
    maps = (weighted - mean.to(seen)[:, None, None] * seen) / (p.samples * p.probability)
    above = maps - maps.amin((1, 2), keepdim=True)
    return Maps(above[:, None], tuple({"mean_score": float(value)} for value in mean))


def masks(count: int, p: Rise, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return masks [count, 1, H, W] in 0-1: random cells, enlarged bilinearly and shifted by less than a cell."""
    cells = (torch.rand(count, 1, p.cells, p.cells, generator=generator) < p.probability).float()
    cell = [-(-length // p.cells) for length in size]
    large = F.interpolate(cells, size=[(p.cells + 1) * side for side in cell], mode="bilinear", align_corners=False)
    down, across = (torch.randint(side, (count,), generator=generator).tolist() for side in cell)
    cut = [one[:, y : y + size[0], x : x + size[1]] for one, y, x in zip(large, down, across, strict=True)]
    return torch.stack(cut)


RISE: Mapping[str, Method] = MappingProxyType(
    {"rise": Method(rise, Rise, "Petsiuk et al. 2018, arXiv:1806.07421", cost=_cost, fit=_fit)}
)

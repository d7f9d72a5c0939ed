"""RISE: scores of the picture under random smooth masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.errors import bad_option
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import CHUNK, Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import baseline, baseline_option, seed_option
from torchserve_saliency.methods.perturbation.masking import cpu_generator
from torchserve_saliency.schema import Integer, Number, option

_MOST_MASKS = 8000  # the number in the paper for a ResNet-50


@dataclass(frozen=True)
class Rise:
    """The number of masks, their resolution, the share that they show, and the baseline for hidden pixels."""

    samples: int = option(
        400,
        Integer(2, _MOST_MASKS),
        "Random masks, one forward pass each; more are smoother, 4000 as in the paper",
        unit="masks",
    )
    cells: int = option(7, Integer(1, 64), "Cells along each side of a mask; more show smaller details", unit="cells")
    probability: float = option(0.5, Number(0.01, 0.99), "Probability that a cell of the mask is shown")
    baseline: str = baseline_option()
    seed: int = seed_option()


def _fit(p: Rise, spec: InputSpec) -> Rise:
    """Return the parameters; raise RequestError 400 if a cell would be smaller than a pixel."""
    if p.cells > min(spec.size):
        raise bad_option("cells", f"'cells' must be at most {min(spec.size)}, the shorter side, not {p.cells}")
    return p


def _cost(p: Rise, spec: InputSpec) -> Cost:
    """Return a forward pass of the picture, and one per mask."""
    return Cost(1 + p.samples)


def rise(subject: Subject, p: Rise) -> Steps:
    """Expected score if a pixel is shown, minus that of the least important pixel, [T, 1, H, W].

    Petsiuk et al. 2018. As in the paper, masks are summed with their scores as weights, but the mean score is
    subtracted from the scores first. This changes the expectation only by a constant, and without it 400 masks would
    leave more noise than signal. The finding `mean_score` is the mean score.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    objective = subject.objective.fixed(clean.pairs[0])
    absent = baseline(p.baseline, subject.x, subject.spec, p.seed)
    size, generator = (int(subject.x.shape[2]), int(subject.x.shape[3])), cpu_generator(p.seed)
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
    """Return masks [count, 1, H, W] in 0-1: random cells, upsampled bilinearly and shifted by less than a cell."""
    cells = (torch.rand(count, 1, p.cells, p.cells, generator=generator) < p.probability).float()
    cell = [-(-length // p.cells) for length in size]
    large = F.interpolate(cells, size=[(p.cells + 1) * side for side in cell], mode="bilinear", align_corners=False)
    down, across = (torch.randint(side, (count,), generator=generator).tolist() for side in cell)
    cut = [one[:, y : y + size[0], x : x + size[1]] for one, y, x in zip(large, down, across, strict=True)]
    return torch.stack(cut)


RISE_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "rise": Method(
            rise,
            Rise,
            "Petsiuk et al. 2018, arXiv:1806.07421",
            "How high the score is if each pixel is shown, over many randomly masked pictures",
            cost=_cost,
            fit=_fit,
        )
    }
)

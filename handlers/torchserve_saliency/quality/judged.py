"""The input and output of a quality score: the judged maps, and a generator like a method that returns their scores."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Pairs
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods.base import Steps, Subject
from torchserve_saliency.methods.baselines import seeded

ScoreValue = float | None
Quality = Mapping[str, Mapping[str, ScoreValue | str] | int]
"""The scores of one target's map by name, each with "value" and "random", and the number of passes for all targets."""
SEED = 0  # of the random numbers of all scores, so that the same maps get the same scores


@dataclass(frozen=True)
class Judged:
    """The M maps of one picture that are scored together: one for each of T targets, then random maps.

    `shown` [M, H, W] are the maps as the client gets them, summed over channels, and `values` [M, C, H, W] the maps
    before `reduce`. The classes of `subject` are resolved, and `logits` [W] are those of the clean picture. If `local`
    is true, the maps are gradients, in units of score per unit of input, otherwise shares of the score. `again` runs
    the same method for another input; if it is None, `why` tells the client the reason.
    """

    subject: Subject
    logits: Tensor
    shown: Tensor
    values: Tensor
    local: bool = False
    findings: tuple[Mapping[str, float], ...] = ()
    again: Callable[[Subject], Steps] | None = None
    why: str = ""

    @property
    def pairs(self) -> Pairs:
        """Return the classes (target, against) for each of the T targets."""
        assert self.subject.objective.pairs is not None
        return self.subject.objective.pairs

    @cached_property
    def ranks(self) -> Tensor:
        """Return the rank of each pixel in its map, [M, H, W]."""
        return pixel_ranks(self.shown)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return each target's probability [n, T] in float64, for logits [n, W]."""
        targets, columns = [target for target, _ in self.pairs], self.subject.objective.columns
        return torch.stack([torch.from_numpy(columns.probabilities(row))[targets] for row in logits])


ScoreSteps = Generator[Rows, Answer, Tensor]
"""Yields rows and returns the score of each map for each target, float64 [M, T] on the CPU, NaN if there is none."""


def pixel_ranks(shown: Tensor) -> Tensor:
    """Return the rank of each pixel in its map, [M, H, W]; the largest value has rank 0, and ties are random."""
    flat = shown.flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=seeded(SEED, shown), device=shown.device)
    order = shuffled[flat[:, shuffled].argsort(stable=True, dim=1, descending=True)]
    ranks = torch.arange(flat.shape[1], device=shown.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, ranks).view(shown.shape)

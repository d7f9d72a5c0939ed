"""What is judged, and what a score is: a generator that yields rows like a method and returns a figure a map."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from saliency.methods.base import Steps, Subject
from saliency.methods.baselines import seeded
from saliency.objective import Pairs, softmax
from saliency.rows import Answer, Rows

Figure = float | None
Quality = Mapping[str, Mapping[str, Figure | str] | int]
"""A target's figures by score, {"value", "random"}, and the rows that all of them spent."""
SEED = 0  # of whatever a score draws: the same maps have the same figures


@dataclass(frozen=True)
class Judged:
    """The maps of one picture that are scored together.

    `shown` [M, H, W] holds them as they are sent (channels summed), `values` [M, C, H, W] before `reduce`. The classes
    of `subject` are settled; `logits` [K] are the clean picture's. `local` says that the maps are gradients, in units
    of score per unit of input, not shares of the score. `again` explains another input by the same method, None
    where that is not asked for; then `why` says why not.
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
        """Return the classes (target, against) of each of the T targets."""
        assert self.subject.objective.pairs is not None
        return self.subject.objective.pairs

    @cached_property
    def places(self) -> Tensor:
        """Return each pixel's place [M, H, W] in its map's order."""
        return ranks(self.shown)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return each target's probability [n, T] in float64, for logits [n, K]."""
        targets = [target for target, _ in self.pairs]
        return torch.stack([torch.from_numpy(softmax(row.double().numpy()))[targets] for row in logits])


Marks = Generator[Rows, Answer, Tensor]
"""Yields rows; returns what each map scores for each target, float64 [M, T] on the CPU, NaN where it has no figure."""


def ranks(shown: Tensor) -> Tensor:
    """Return each pixel's place [M, H, W] in its map's order, the greatest value first; ties are broken by lot."""
    flat = shown.flatten(1)
    lots = torch.randperm(flat.shape[1], generator=seeded(SEED, shown), device=shown.device)
    order = lots[flat[:, lots].argsort(stable=True, dim=1, descending=True)]
    places = torch.arange(flat.shape[1], device=shown.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(shown.shape)

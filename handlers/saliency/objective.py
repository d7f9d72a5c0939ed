"""The scalar that is explained, and its exact gradient with respect to the logits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from saliency.targets import Class, ranking, settle

Pairs = tuple[tuple[int, int], ...]
SCORES = ("logit", "probability", "log_probability")


@dataclass(frozen=True)
class Objective:
    """What a row is explained for: score(target) - score(against), a map for each target.

    `pairs` holds the (target, against) class indices where they are settled, -1 for no opponent.
    """

    targets: tuple[Class, ...]
    against: int | str | None = None
    score: str = "logit"
    pairs: Pairs | None = None

    def fixed(self, pairs: Pairs) -> Objective:
        """Return this objective held to the classes of `pairs`, whatever the logits of a row say."""
        return replace(self, pairs=pairs)

    def settled(self, logits: Tensor) -> Pairs:
        """Return (target, against) class indices by these logits [K], -1 for no opponent."""
        if self.pairs is not None:
            return self.pairs
        return settle(self.targets, self.against, ranking(logits, len(self.targets) + 1))


def evaluate(logits: Tensor, pair: tuple[int, int], score: str) -> tuple[float, Tensor]:
    """Return score(target) - score(against) and its gradient [K] in float64, for the logits [K] of one row."""
    target, against = pair
    value, gradient = _score(logits.double(), target, score)
    if against < 0:
        return value, gradient
    other, other_gradient = _score(logits.double(), against, score)
    return value - other, gradient - other_gradient


def _score(logits: Tensor, index: int, score: str) -> tuple[float, Tensor]:
    """Return one class's score and its gradient with respect to the float64 logits."""
    own = torch.zeros_like(logits)
    own[index] = 1.0
    if score == "logit":
        return float(logits[index]), own
    probabilities = torch.softmax(logits, 0)
    others = probabilities.clone()
    others[index] = 0.0
    # 1 - p summed from the other classes: a difference would lose it where p is within 1e-16 of 1
    slope = own * others.sum() - others
    if score == "log_probability":
        return float(torch.log_softmax(logits, 0)[index]), slope
    return float(probabilities[index]), probabilities[index] * slope

"""The scalar that is explained, and its exact gradient with respect to the logits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saliency.targets import Class, ranking, settle

Pairs = tuple[tuple[int, int], ...]
Slope = NDArray[np.float64]
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


def evaluate(logits: Tensor, pair: tuple[int, int], score: str) -> tuple[float, Slope]:
    """Return score(target) - score(against) and its gradient [K] in float64, for the logits [K] of one row."""
    target, against = pair
    values = logits.numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite is refused with the predictions
        value, slope = _score(values, target, score)
        if against < 0:
            return value, slope
        other, other_slope = _score(values, against, score)
        return value - other, slope - other_slope


def _score(logits: Slope, index: int, score: str) -> tuple[float, Slope]:
    """Return one class's score and its gradient with respect to the float64 logits."""
    own = np.zeros_like(logits)
    own[index] = 1.0
    if score == "logit":
        return float(logits[index]), own
    probabilities = softmax(logits)
    others = probabilities.copy()
    others[index] = 0.0
    # 1 - p summed from the other classes: a difference would lose it where p is within 1e-16 of 1
    slope = own * others.sum() - others
    if score == "log_probability":
        shifted = logits - logits.max()
        return float(shifted[index] - np.log(np.exp(shifted).sum())), slope
    return float(probabilities[index]), probabilities[index] * slope


def softmax(logits: Slope) -> Slope:
    """Return the probabilities [K] of logits [K]."""
    powers = np.exp(logits - logits.max())
    probabilities: Slope = powers / powers.sum()
    return probabilities

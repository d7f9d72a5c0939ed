"""The scalar to explain, and its exact gradient with respect to the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torchserve_saliency.errors import RequestError


@dataclass(frozen=True)
class Rank:
    """The class at position `place` if classes are sorted by their logits, highest first; 0 is the predicted class."""

    place: int


Class = int | Rank
Pairs = tuple[tuple[int, int], ...]
Vector = NDArray[np.float64]
SCORES = ("logit", "probability", "log_probability")


@dataclass(frozen=True)
class Objective:
    """The scores to explain: score(target) - score(against), with one map per target.

    `pairs` holds one (target, against) pair of class indices per target if they are known, with -1 for no `against`.
    """

    targets: tuple[Class, ...]
    against: int | str | None = None
    score: str = "logit"
    pairs: Pairs | None = None

    def fixed(self, pairs: Pairs) -> Objective:
        """Return this objective with fixed class indices, so that it no longer depends on a row's logits."""
        return replace(self, pairs=pairs)

    def resolved(self, logits: Tensor) -> Pairs:
        """Return the (target, against) class indices for logits [K], with -1 if there is no `against`."""
        if self.pairs is not None:
            return self.pairs
        return resolve(self.targets, self.against, ranking(logits, len(self.targets) + 1))


def evaluate(logits: Tensor, pair: tuple[int, int], score: str) -> tuple[float, Vector]:
    """Return score(target) - score(against) and its gradient [K] in float64, for the logits [K] of one row."""
    target, against = pair
    values = logits.numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):  # the caller refuses logits that are not finite
        value, gradient = _score(values, target, score)
        if against < 0:
            return value, gradient
        other, other_gradient = _score(values, against, score)
        return value - other, gradient - other_gradient


def _score(logits: Vector, index: int, score: str) -> tuple[float, Vector]:
    """Return one class's score and its gradient with respect to the float64 logits."""
    one_hot = np.zeros_like(logits)
    one_hot[index] = 1.0
    if score == "logit":
        return float(logits[index]), one_hot
    probabilities = softmax(logits)
    others = probabilities.copy()
    others[index] = 0.0
    # 1 - p as the sum of the other classes: the difference is 0 if p is within 1e-16 of 1
    gradient = one_hot * others.sum() - others
    if score == "log_probability":
        shifted = logits - logits.max()
        return float(shifted[index] - np.log(np.exp(shifted).sum())), gradient
    return float(probabilities[index]), probabilities[index] * gradient


def softmax(logits: Vector) -> Vector:
    """Return the probabilities [K] of logits [K]."""
    powers = np.exp(logits - logits.max())
    probabilities: Vector = powers / powers.sum()
    return probabilities


def ranking(logits: Tensor, count: int) -> list[int]:
    """Return the `count` classes with the highest logits [K], highest first; equal ones in order of their index."""
    values = logits.numpy()
    threshold = np.partition(values, -min(count, len(values)))[-min(count, len(values))]
    candidates = np.flatnonzero(~(values < threshold))  # not `>=`: NaN must stay in, so that the caller can refuse it
    order: list[int] = candidates[np.argsort(-values[candidates], kind="stable")][:count].tolist()
    return order


def resolve(targets: Sequence[Class], against: int | str | None, order: Sequence[int]) -> Pairs:
    """Return (target, against) class indices for each target, with -1 if there is no `against`.

    `order` holds class indices, highest logit first, at least one more than the highest rank in `targets`.
    Raise RequestError 422 if the network has too few classes, or if a target equals `against`.
    """
    if any(isinstance(t, Rank) and t.place >= len(order) for t in targets):
        raise RequestError(422, "ClassIndexException", f"the model has only {len(order)} classes", "target")
    indices = [order[t.place] if isinstance(t, Rank) else t for t in targets]
    return tuple((target, _opponent(target, against, order)) for target in indices)


def _opponent(target: int, against: int | str | None, order: Sequence[int]) -> int:
    """Return the index of the class that `target` is compared with, or -1 if there is none."""
    if against is None:
        return -1
    if isinstance(against, str):
        rivals = [index for index in order if index != target]
        if not rivals:
            raise RequestError(422, "ClassIndexException", "the model has no second class", "against")
        return rivals[0]
    if against == target:
        message = f"class {target} is both target and against, so the difference is zero everywhere"
        raise RequestError(422, "SameClassException", message, "against")
    return against

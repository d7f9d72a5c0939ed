"""The scalar to explain, and its exact gradient with respect to the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.activation import ALL_COLUMNS, Columns, Vector


@dataclass(frozen=True)
class Rank:
    """The class at position `place` if classes are sorted by their logits, highest first; 0 is the predicted class."""

    place: int


@dataclass(frozen=True)
class Above:
    """Every class with at least this probability, at most `most` of them, the most probable first."""

    probability: float
    most: int


Class = int | Rank | Above
Pairs = tuple[tuple[int, int], ...]
SCORES = ("logit", "probability", "log_probability")


@dataclass(frozen=True)
class Objective:
    """The scores to explain: score(target) - score(against), with one map per target.

    Classes are numbered within the `columns` of the logits, which are those of one head of the network. `pairs` holds
    one (target, against) pair of class indices per target if they are known, with -1 for no `against`. A target of
    type Above stands for a number of classes that depends on the logits, so it must be fixed before a backward pass.
    """

    targets: tuple[Class, ...]
    against: int | str | None = None
    score: str = "logit"
    pairs: Pairs | None = None
    columns: Columns = ALL_COLUMNS

    @property
    def explains_output(self) -> bool:
        """Tell if the score is an output of the network itself, not a function of several outputs or of its sigmoid."""
        return self.columns.activation.explains_output(self.score)

    @property
    def above(self) -> Above | None:
        """Return the target of type Above if there is one and the classes are not fixed yet; it is the only target."""
        (target, *_) = self.targets or (None,)
        return target if isinstance(target, Above) and self.pairs is None else None

    def fixed(self, pairs: Pairs) -> Objective:
        """Return this objective with fixed class indices, so that it no longer depends on a row's logits."""
        targets = self.targets if len(pairs) == len(self.targets) else tuple(target for target, _ in pairs)
        return replace(self, targets=targets, pairs=pairs)

    def resolved(self, logits: Tensor) -> Pairs:
        """Return the (target, against) class indices for the logits [W] of a row, with -1 if there is no `against`."""
        if self.pairs is not None:
            return self.pairs
        values = self.columns.of(logits)
        if self.above is None:
            return resolve(self.targets, self.against, ranking(values, len(self.targets) + 1))
        order = ranking(values, self.above.most + 1)
        probabilities = self.columns.probabilities(logits)
        targets = [index for index in order if probabilities[index] >= self.above.probability]
        return resolve(targets[: self.above.most], self.against, order)

    def evaluate(self, logits: Tensor, pair: tuple[int, int]) -> tuple[float, Vector]:
        """Return score(target) - score(against) and its gradient [W] in float64, for the logits [W] of one row."""
        return evaluate(logits, pair, self.score, self.columns)


def evaluate(logits: Tensor, pair: tuple[int, int], score: str, columns: Columns = ALL_COLUMNS) -> tuple[float, Vector]:
    """Return score(target) - score(against) and its gradient [W] in float64, for the logits [W] of one row."""
    target, against = pair
    with np.errstate(invalid="ignore"):  # the caller refuses logits that are not finite
        value, gradient = columns.score(logits, target, score)
        if against < 0:
            return value, gradient
        other, other_gradient = columns.score(logits, against, score)
        return value - other, gradient - other_gradient


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
    indices = [order[t.place] if isinstance(t, Rank) else t for t in targets if not isinstance(t, Above)]
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

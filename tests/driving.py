"""Generators of rows driven by hand: what they return, and what they had evaluated."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from saliency.methods.base import Cost
from saliency.model import Classifier
from saliency.pool import Pool
from saliency.rows import Answer, Rows

T = TypeVar("T")


@dataclass(frozen=True)
class Driven(Generic[T]):
    """What a generator returned, and the rows that it asked for."""

    value: T
    asked: tuple[Rows, ...]

    @property
    def cost(self) -> Cost:
        """Return how many rows were evaluated forward, and how many of them backward."""
        sizes = [(len(rows.inputs), rows.differentiated) for rows in self.asked]
        return Cost(sum(size for size, _ in sizes), sum(size for size, backward in sizes if backward))


def driven(model: Classifier, steps: Generator[Rows, Answer, T]) -> Driven[T]:
    """Return what a generator makes of a network's answers."""
    asked: list[Rows] = []
    answer: Answer | None = None
    while True:
        try:
            asked.append(next(steps) if answer is None else steps.send(answer))
        except StopIteration as end:
            return Driven(end.value, tuple(asked))
        (found,) = Pool(model, asked[-1:], 64).answers()
        assert isinstance(found, Answer)
        answer = found

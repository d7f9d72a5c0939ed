"""Runs one generator of rows on a network, and records the rows that it requested."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.rows import Answer, Rows, advance
from torchserve_saliency.methods.base import Cost
from torchserve_saliency.model.classifier import Classifier

T = TypeVar("T")


@dataclass(frozen=True)
class Driven(Generic[T]):
    """The value that a generator returned, and the rows that it requested."""

    value: T
    requested: tuple[Rows, ...]

    @property
    def cost(self) -> Cost:
        """Return the number of rows evaluated forward, and the number of those evaluated backward."""
        sizes = [(len(rows.inputs), rows.differentiated) for rows in self.requested]
        return Cost(sum(size for size, _ in sizes), sum(size for size, backward in sizes if backward))


def driven(model: Classifier, steps: Generator[Rows, Answer, T]) -> Driven[T]:
    """Run a generator to its end, answering its rows with the network's results."""
    requested: list[Rows] = []
    step = advance(steps)
    while isinstance(step, Rows):
        requested.append(step)
        (answer,) = Pool(model, [step], 64).answers()
        assert isinstance(answer, Answer)
        step = advance(steps, answer)
    return Driven(step.value, tuple(requested))

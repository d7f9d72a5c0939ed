"""Generators of rows driven together: what all of them ask for next is pooled, evaluated and handed back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Generic, TypeVar, cast

from saliency.deadline import NEVER, Deadline
from saliency.errors import RequestError
from saliency.measures import Measures
from saliency.model import Classifier
from saliency.pool import Pool
from saliency.rows import Answer, Rows

T = TypeVar("T")
Progress = Callable[[int], None]


class Waves(Generic[T]):
    """Some generators under way; whatever befalls one is its own."""

    def __init__(
        self,
        classifier: Classifier,
        capacity: int,
        steps: Mapping[int, Generator[Rows, Answer, T]],
        deadline: Deadline = NEVER,
        measures: Measures | None = None,
    ) -> None:
        self._classifier = classifier
        self._capacity = capacity
        self._deadline = deadline
        self._measures = measures or Measures()
        self._steps = steps
        self._ended: dict[int, T | Exception] = {}
        self._pool: Pool | None = None
        self._ask({owner: self._advance(owner, None) for owner in steps})

    def _ask(self, asked: Mapping[int, Rows | None]) -> None:
        """Make ready what the generators that have not ended ask for next."""
        rows = {owner: each for owner, each in asked.items() if each is not None}
        self._owners = list(rows)
        each = list(rows.values())
        self._pool = Pool(self._classifier, each, self._capacity, self._deadline, self._measures) if rows else None

    def forward(self) -> None:
        """Run what is asked for first forward."""
        if self._pool:
            self._pool.forward()

    def finish(self, progress: Progress | None = None) -> dict[int, T | Exception]:
        """Run everything that is left, and return what each generator returned, or the exception that ended it.

        `progress` is told after each wave how many rows have been evaluated.
        """
        rows = 0
        while pool := self._pool:
            answers = zip(self._owners, pool.answers(), strict=True)
            self._ask({owner: self._advance(owner, answer) for owner, answer in answers})
            rows += pool.rows
            if progress:
                progress(rows)
        return self._ended

    def _advance(self, owner: int, answer: Answer | RequestError | None) -> Rows | None:
        """Hand a generator its answer (None begins it); return what it asks for next, None where it has ended."""
        try:
            if isinstance(answer, RequestError):
                raise answer
            return self._steps[owner].send(cast(Answer, answer))
        except StopIteration as end:
            self._ended[owner] = end.value
        except Exception as error:
            self._ended[owner] = error
        return None

"""Drives generators of rows together: the next rows of all of them are pooled, evaluated, and answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import Generic, TypeVar

from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.metrics import BatchMetrics, TimeBudget, processor_seconds
from torchserve_saliency.engine.rows import Answer, Rows, advance
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.classifier import Classifier

T = TypeVar("T")
Progress = Callable[[int], None]
"""Called after each round with the number of rows evaluated so far."""


class Scheduler(Generic[T]):
    """Drives several generators, each by its own key; a failure in one does not affect the others.

    `capacity`, `deadline` and `metrics` are those of `Pool`. `seconds` limits the processor time of each generator.
    """

    def __init__(
        self,
        classifier: Classifier,
        capacity: int,
        steps: Mapping[int, Generator[Rows, Answer, T]],
        deadline: float = math.inf,
        metrics: BatchMetrics | None = None,
        seconds: Mapping[int, float] | None = None,
    ) -> None:
        self._budgets = {key: TimeBudget((seconds or {}).get(key, math.inf)) for key in steps}
        self._classifier = classifier
        self._capacity = capacity
        self._deadline = deadline
        self._metrics = metrics or BatchMetrics()
        self._steps = steps
        self._results: dict[int, T | Exception] = {}
        self._prepare({key: self._advance(key, None) for key in steps})

    def _prepare(self, next_rows: Mapping[int, Rows | None]) -> None:
        """Pool the rows of the generators that have not ended."""
        requests = {key: rows for key, rows in next_rows.items() if rows is not None}
        self._keys = list(requests)
        self._pool: Pool | None = None
        if requests:
            rows = list(requests.values())
            budgets = [self._budgets[key] for key in self._keys]
            self._pool = Pool(self._classifier, rows, self._capacity, self._deadline, self._metrics, budgets)

    def forward(self) -> None:
        """Run the first rows of the generators forward."""
        if self._pool:
            self._pool.forward()

    def finish(self, progress: Progress | None = None) -> dict[int, T | Exception]:
        """Run all generators to their end; return the value that each returned, or the exception that ended it."""
        rows = 0
        while pool := self._pool:
            answers = zip(self._keys, pool.answers(), strict=True)
            self._prepare({key: self._advance(key, answer) for key, answer in answers})
            rows += pool.rows
            if progress:
                progress(rows)
        return self._results

    def _advance(self, key: int, answer: Answer | RequestError | None) -> Rows | None:
        """Send a generator its answer (None starts it); return its next rows, or None if it has ended."""
        start = processor_seconds(self._classifier.device)
        try:
            if isinstance(answer, RequestError):
                raise answer
            step = advance(self._steps[key], answer)
        except Exception as error:
            self._results[key] = error
            return None
        self._budgets[key].used += processor_seconds(self._classifier.device) - start
        if isinstance(step, Rows):
            return step
        self._results[key] = step.value
        return None

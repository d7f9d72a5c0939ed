"""Packs the rows of several requests into full batches, evaluates them, and sorts the answers by request."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from torchserve_saliency.engine.metrics import BACKWARD, FORWARD, SPLITS, BatchMetrics, TimeBudget, charged
from torchserve_saliency.engine.network_pass import Pass
from torchserve_saliency.engine.rows import Answer, Rows, joined
from torchserve_saliency.errors import RequestError, out_of_memory, to_request_error, too_late, too_long, without_frames
from torchserve_saliency.model.classifier import Classifier

logger = logging.getLogger(__name__)
Result = Answer | RequestError


class Chunk(NamedTuple):
    """Some of the rows of request number `request`."""

    request: int
    rows: Rows


Batch = list[Chunk]


class Pool:
    """The rows of several requests: call `forward` first, then `answers`.

    No batch has more than `capacity` rows, and none is begun once `time.monotonic()` has reached `deadline`. The
    processor time of a batch is charged to the budgets of its requests, by their rows; a request whose budget is spent
    fails with 504 at its next batch.
    """

    def __init__(
        self,
        classifier: Classifier,
        requests: Sequence[Rows],
        capacity: int,
        deadline: float = math.inf,
        metrics: BatchMetrics | None = None,
        budgets: Sequence[TimeBudget] | None = None,
    ) -> None:
        self._budgets = budgets or [TimeBudget() for _ in requests]
        self._classifier = classifier
        self._requests = requests
        self._capacity = capacity
        self._deadline = deadline
        self._metrics = metrics or BatchMetrics()
        self._batches = list(_pack(requests, capacity, plain_apart=classifier.compiled is not None))
        self._passes: dict[int, Pass] = {}

    @property
    def rows(self) -> int:
        """Return the total number of rows."""
        return sum(len(rows.inputs) for rows in self._requests)

    def forward(self) -> None:
        """Run the first batches forward, as many as can hold their graphs at the same time."""
        rows = 0
        for index, batch in enumerate(self._batches):
            rows += sum(len(chunk.rows.inputs) for chunk in batch)
            if time.monotonic() >= self._deadline or (index and rows > self._capacity):
                break
            try:
                self._passes[index] = self._forward(batch)
            except Exception as error:  # answers() tries again in smaller batches, and finds the request that fails
                logger.warning("a forward pass of %d rows failed and is split: %s", rows, without_frames(error))

    def answers(self) -> list[Result]:
        """Return one answer per request, or its error; a request that fails does not affect the others."""
        parts: list[list[Result]] = [[] for _ in self._requests]
        for index, batch in enumerate(self._batches):
            for request, result in self._evaluate(batch, self._passes.pop(index, None)):
                parts[request].append(result)
        return [_join(part) for part in parts]

    def _forward(self, batch: Batch) -> Pass:
        with self._metrics.timed(FORWARD), self._charged(batch):
            return Pass(self._classifier, [chunk.rows for chunk in batch]).forward()

    def _charged(self, batch: Batch) -> AbstractContextManager[None]:
        """Charge the processor time of the block to the requests of a batch, by their rows."""
        shares = [(self._budgets[chunk.request], len(chunk.rows.inputs)) for chunk in batch]
        return charged(shares, self._classifier.device)

    def _without_spent(self, batch: Batch) -> Generator[tuple[int, Result], None, Batch]:
        """Yield an error for each chunk of a request that has used its time; return the other chunks."""
        left: Batch = []
        for chunk in batch:
            budget = self._budgets[chunk.request]
            if budget.is_spent:
                yield chunk.request, too_long(budget.limit)
            else:
                left.append(chunk)
        return left

    def _evaluate(self, batch: Batch, ready: Pass | None = None) -> Iterator[tuple[int, Result]]:
        """Yield each chunk's request and result; `ready` is the batch's forward pass if it has been made.

        If the batch fails, its halves are evaluated, down to a single group of rows.
        """
        if time.monotonic() >= self._deadline:
            yield from ((chunk.request, too_late()) for chunk in batch)
            return
        if ready is None:
            batch = yield from self._without_spent(batch)
            if not batch:
                return
        try:
            ready = ready or self._forward(batch)
            with self._metrics.timed(BACKWARD), self._charged(batch):
                results = ready.backward()
        except Exception as error:
            failure = error
        else:
            yield from zip((chunk.request for chunk in batch), results, strict=True)
            return
        ready = None  # the halves need the memory of the failed pass
        if _is_single_group(batch):
            yield batch[0].request, to_request_error(failure, "the evaluation")
            return
        logger.warning("a batch of %d chunks failed and is split: %s", len(batch), without_frames(failure))
        self._metrics.add(SPLITS, int(out_of_memory(failure)))
        for half in _halves(batch):
            yield from self._evaluate(half)


def _pack(requests: Sequence[Rows], capacity: int, plain_apart: bool) -> Iterator[Batch]:
    """Yield batches of at most `capacity` rows that can share a forward and a backward pass.

    If `plain_apart`, plain rows have batches of their own, because only they can run on a compiled network.
    """
    groups: dict[tuple[object, ...], Batch] = {}
    for index, rows in enumerate(requests):
        targets = len(rows.objective.targets) if rows.objective and rows.differentiated else 0
        key = targets, rows.inputs.shape[1:], plain_apart and rows.plain, rows.mode, rows.units
        groups.setdefault(key, []).append(Chunk(index, rows))
    for group in groups.values():
        yield from _fill(group, capacity)


def _fill(chunks: Batch, capacity: int) -> Iterator[Batch]:
    """Yield chunks in batches of `capacity` rows; a chunk may be split between batches, a group of rows may not."""
    group_size = chunks[0].rows.group_size
    capacity = max(capacity // group_size, 1) * group_size
    batch: Batch = []
    room = capacity
    for request, rows in chunks:
        start = 0
        while start < len(rows.inputs):
            part = rows.part(start, start + room)
            batch.append(Chunk(request, part))
            start += len(part.inputs)
            room -= len(part.inputs)
            if room == 0:
                yield batch
                batch, room = [], capacity
    if batch:
        yield batch


def _is_single_group(batch: Batch) -> bool:
    """Return whether a batch cannot be split any further."""
    return sum(len(chunk.rows.inputs) for chunk in batch) <= batch[0].rows.group_size


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    """Split a batch of several groups in two: between chunks, or within its only chunk."""
    if len(batch) > 1:
        return batch[: len(batch) // 2], batch[len(batch) // 2 :]
    ((request, rows),) = batch
    middle = len(rows.inputs) // rows.group_size // 2 * rows.group_size
    return [Chunk(request, rows.part(0, middle))], [Chunk(request, rows.part(middle))]


def _join(parts: Sequence[Result]) -> Result:
    """Return the answers of one request's chunks as one answer, or the first error among them."""
    answers = [part for part in parts if isinstance(part, Answer)]
    if len(answers) < len(parts):
        return next(part for part in parts if isinstance(part, RequestError))
    return joined(answers)

"""Pooling: the rows of all requests in flight, packed into full batches and handed back request by request."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch

from saliency.deadline import NEVER, Deadline, too_late
from saliency.engine import Pass
from saliency.errors import RequestError, out_of_memory, refused, without_frames
from saliency.measures import BACKWARD, FORWARD, SPLITS, Measures
from saliency.model import Classifier
from saliency.rows import Answer, Rows

logger = logging.getLogger(__name__)
Owned = tuple[int, Rows]


class Pool:
    """One wave of rows, an entry of `asked` each; `forward` then `answers`, in the order asked."""

    def __init__(
        self,
        classifier: Classifier,
        asked: Sequence[Rows],
        capacity: int,
        deadline: Deadline = NEVER,
        measures: Measures | None = None,
    ) -> None:
        self._classifier = classifier
        self._asked = asked
        self._capacity = capacity
        self._deadline = deadline
        self._measures = measures or Measures()
        self._batches = list(_pack(asked, capacity, plain_apart=classifier.compiled is not None))
        self._passes: list[Pass | None] = [None] * len(self._batches)

    @property
    def rows(self) -> int:
        """Return how many rows the wave has."""
        return sum(len(rows.inputs) for rows in self._asked)

    def forward(self) -> None:
        """Run as many batches forward as may hold their graphs at one time."""
        rows = 0
        for index, batch in enumerate(self._batches):
            rows += sum(len(piece.inputs) for _, piece in batch)
            if self._deadline.passed or (index and rows > self._capacity):
                break
            try:
                self._passes[index] = self._forwarded(batch)
            except Exception as error:  # answers() tries again in smaller batches and says what is wrong with which
                logger.warning("a forward pass of %d rows failed and is split: %s", rows, without_frames(error))

    def answers(self) -> list[Answer | RequestError]:
        """Return what came of each entry; an entry that fails is its own error and no one else's."""
        parts: list[list[Answer | RequestError]] = [[] for _ in self._asked]
        for index, batch in enumerate(self._batches):
            ready, self._passes[index] = self._passes[index], None
            for (owner, _), answer in self._run(batch, ready):
                parts[owner].append(answer)
        return [_joined(part) for part in parts]

    def _forwarded(self, batch: Sequence[Owned]) -> Pass:
        with self._measures.timed(FORWARD):
            return Pass(self._classifier, [piece for _, piece in batch]).forward()

    def _run(self, batch: list[Owned], ready: Pass | None = None) -> Iterator[tuple[Owned, Answer | RequestError]]:
        """Yield the answers of a batch, halving it as long as it fails; past the deadline, nothing is begun."""
        if self._deadline.passed:
            yield from ((owned, too_late()) for owned in batch)
            return
        try:
            ready = ready or self._forwarded(batch)
            with self._measures.timed(BACKWARD):
                answers = ready.backward()
        except Exception as error:
            ready, failure = None, error
        else:
            yield from zip(batch, answers, strict=True)
            return
        if sum(len(piece.inputs) for _, piece in batch) <= batch[0][1].grain:
            yield batch[0], refused(failure, "the evaluation")
            return
        logger.warning("a batch of %d pieces failed and is split: %s", len(batch), failure)
        self._measures.add(SPLITS, int(out_of_memory(failure)))
        without_frames(failure)  # what the failed pass held is what the halves need
        for half in _halves(batch):
            yield from self._run(half)


def _pack(asked: Sequence[Rows], capacity: int, plain_apart: bool = False) -> Iterator[list[Owned]]:
    """Yield batches of at most `capacity` rows that can share one forward and one backward.

    Plain rows go apart from the others where a compiled network takes them.
    """
    groups: dict[tuple[object, ...], list[Owned]] = {}
    for owner, rows in enumerate(asked):
        targets = len(rows.objective.targets) if rows.objective and rows.differentiated else 0
        key = targets, rows.inputs.shape[1:], plain_apart and rows.plain, rows.mode, rows.units
        groups.setdefault(key, []).append((owner, rows))
    for group in groups.values():
        yield from _fill(group, capacity)


def _fill(group: Sequence[Owned], capacity: int) -> Iterator[list[Owned]]:
    """Yield the pieces of a group in batches, cutting entries where a batch is full, but never within a grain."""
    grain = group[0][1].grain
    capacity = max(capacity // grain, 1) * grain
    batch: list[Owned] = []
    room = capacity
    for owner, rows in group:
        start = 0
        while start < len(rows.inputs):
            piece = rows.part(start, start + room)
            batch.append((owner, piece))
            start += len(piece.inputs)
            room -= len(piece.inputs)
            if room == 0:
                yield batch
                batch, room = [], capacity
    if batch:
        yield batch


def _halves(batch: list[Owned]) -> tuple[list[Owned], list[Owned]]:
    """Return a batch of several grains as two: by pieces, or by the rows of its only piece."""
    if len(batch) > 1:
        return batch[: len(batch) // 2], batch[len(batch) // 2 :]
    ((owner, rows),) = batch
    middle = len(rows.inputs) // rows.grain // 2 * rows.grain
    return [(owner, rows.part(0, middle))], [(owner, rows.part(middle))]


def _joined(parts: Sequence[Answer | RequestError]) -> Answer | RequestError:
    """Return the answers of one entry's pieces as one; the first error stands for all."""
    answers = [part for part in parts if isinstance(part, Answer)]
    if len(answers) < len(parts):
        return next(part for part in parts if isinstance(part, RequestError))
    if len(answers) == 1:
        return answers[0]
    first, gradients = answers[0], [a.gradient for a in answers if a.gradient is not None]
    return Answer(
        logits=torch.cat([a.logits for a in answers]),
        pairs=tuple(pair for a in answers for pair in a.pairs),
        scores=torch.cat([a.scores for a in answers], 1),
        gradient=torch.cat(gradients, 1) if gradients else None,
        activations={name: torch.cat([a.activations[name] for a in answers]) for name in first.activations},
        gradients={name: torch.cat([a.gradients[name] for a in answers], 1) for name in first.gradients},
    )

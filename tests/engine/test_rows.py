"""Generators of rows advanced one step at a time."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch

from tests.networks import inputs
from torchserve_saliency.engine.rows import Answer, Returned, Rows, advance, resume

ROWS = Rows(inputs())
ANSWERS = [Answer(torch.full((1, 5), float(i)), ((),), torch.zeros(0, 1)) for i in range(3)]


def collect(count: int) -> Generator[Rows, Answer, list[Answer]]:
    """Yield ROWS `count` times, and return the answers."""
    answers: list[Answer] = []
    while len(answers) < count:
        answers.append((yield ROWS))
    return answers


def test_advance_returns_rows_and_then_the_returned_value() -> None:
    steps = collect(2)
    assert advance(steps) is ROWS
    assert advance(steps, ANSWERS[0]) is ROWS
    assert advance(steps, ANSWERS[1]) == Returned(ANSWERS[:2])


def test_a_generator_without_rows_returns_its_value_at_once() -> None:
    assert advance(collect(0)) == Returned([])


@pytest.mark.parametrize("count", [1, 3])
def test_resume_continues_a_started_generator(count: int) -> None:
    steps = collect(count)
    next(steps)
    resumed = resume(steps, ANSWERS[0])
    step = advance(resumed)
    for answer in ANSWERS[1:count]:
        assert step is ROWS
        step = advance(resumed, answer)
    assert step == Returned(ANSWERS[:count])

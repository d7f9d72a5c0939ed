"""Nothing is begun after a batch's deadline, and what was ready before it is answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import Tensor

from saliency.deadline import Deadline
from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.message import Message
from saliency.unpacked import Limits, Unpacked
from saliency_handler import SaliencyHandler
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import EXPLAIN, ask


class Clock:
    """A monotonic clock that a network moves on: a second a forward pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("saliency.deadline.time", clock)
    return clock


def slow(clock: Clock, limits: Limits) -> Explainer:
    """Return the explainer of a network whose every pass takes a second."""

    class Slow(Modules):
        def forward(self, x: Tensor) -> Tensor:
            clock.now += 1
            return super().forward(x)

    return Explainer(classifier(made(Slow), limits=limits))


def test_a_deadline_passes_and_the_default_one_never_does(clock: Clock) -> None:
    deadline = Deadline.after(2)
    seen = []
    for clock.now in (0.0, 1.9, 2.0, 1e9):
        seen.append((deadline.passed, Deadline().passed))
    assert seen == [(False, False), (False, False), (True, False), (True, False)]


def test_a_request_is_cut_at_the_next_pass_and_its_neighbour_is_answered(clock: Clock) -> None:
    explainer = slow(clock, Limits(max_batch_rows=4))
    asked = [{"method": "smooth_grad", "samples": 400}, {}]
    queries = [explainer.read(Message({"data": picture(1), **each}, explain=True)) for each in asked]
    start = clock.now
    cut, answered = explainer.begin(queries, Deadline.after(5)).forward().finish()
    assert isinstance(cut, RequestError)
    assert (cut.status, cut.kind) == (500, "DeadlineException")
    assert isinstance(answered, Explanation)
    assert clock.now - start <= 6


def test_the_same_request_is_answered_whole_where_there_is_time(clock: Clock) -> None:
    explainer = slow(clock, Limits(max_batch_rows=4))
    query = explainer.read(Message({"data": picture(1), "method": "smooth_grad", "samples": 40}, explain=True))
    (outcome,) = explainer.begin([query], Deadline.after(1000)).finish()
    assert isinstance(outcome, Explanation)


def test_the_handler_counts_from_the_batchs_arrival(clock: Clock) -> None:
    handler = SaliencyHandler()
    handler.explainer = slow(clock, Limits(max_batch_rows=4, max_batch_seconds=3))
    long = {"data": picture(1), "method": b"smooth_grad", "samples": b"400"}
    bodies, context = ask(handler, (EXPLAIN, long), (EXPLAIN, {"data": picture(2)}))
    assert context.statuses == [500, 200]
    assert json.loads(bodies[0])["type"] == "DeadlineException"
    _, context = ask(handler, (EXPLAIN, {"data": picture(2)}))
    assert context.statuses == [200]


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        ({}, {}, (60, 90)),
        ({"responseTimeout": 40}, {}, (30, 30)),
        ({"responseTimeout": 400}, {}, (60, 300)),
        ({"responseTimeout": 1}, {}, (1, 1)),
        ({"responseTimeout": 40}, {"max_batch_seconds": 50, "max_seconds": 45}, (45, 50)),
    ],
)
def test_the_limits_follow_the_archives_response_timeout(
    config: dict[str, int], given: dict[str, int], expected: tuple[int, int]
) -> None:
    limits = Unpacked(Path(), {}, config, {"limits": given}).limits
    assert (limits.max_seconds, limits.max_batch_seconds) == expected

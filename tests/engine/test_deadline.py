"""No batch of rows is begun after the deadline; requests that were finished before it are answered."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from torch import Tensor

from saliency_handler import SaliencyHandler
from tests.networks import Modules, classifier, inputs, made
from tests.test_explainer import picture
from tests.test_handler import EXPLAIN, ask
from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.archive import Limits, Unpacked
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query
from torchserve_saliency.responses.explanation import Explanation


class Clock:
    """A monotonic clock that the network advances by one second per forward pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("torchserve_saliency.engine.batching", "torchserve_saliency.protocols.dispatch", "saliency_handler"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


def slow(clock: Clock, limits: Limits) -> Explainer:
    """Return the explainer of a network that takes one second per forward pass."""

    class Slow(Modules):
        def forward(self, x: Tensor) -> Tensor:
            clock.now += 1
            return super().forward(x)

    return Explainer(classifier(made(Slow), limits=limits))


def test_rows_are_evaluated_until_the_deadline_and_by_default_always(clock: Clock) -> None:
    model = classifier(made(Modules))

    def evaluated(deadline: float) -> bool:
        (answer,) = Pool(model, [Rows(inputs())], 1, deadline).answers()
        return isinstance(answer, Answer)

    found = []
    for clock.now in (0.0, 1.9, 2.0, 1e9):
        found.append((evaluated(2.0), evaluated(math.inf)))
    assert found == [(True, True), (True, True), (False, True), (False, True)]
    assert isinstance(Pool(model, [Rows(inputs())], 1).answers()[0], Answer)


def test_a_request_ends_at_the_next_pass_and_another_one_is_answered(clock: Clock) -> None:
    explainer = slow(clock, Limits(max_batch_rows=4))
    options = [{"method": "smooth_grad", "samples": 400}, {}]
    queries = [explainer.read(Message({"data": picture(1), **each}, explain=True)) for each in options]
    start = clock.now
    cut, answered = explainer.begin(queries, clock.now + 5).forward().finish()
    assert isinstance(cut, RequestError)
    assert (cut.status, cut.kind) == (503, "DeadlineException")
    assert isinstance(answered, Explanation)
    assert clock.now - start <= 6


def test_a_long_request_is_answered_before_a_later_deadline(clock: Clock) -> None:
    explainer = slow(clock, Limits(max_batch_rows=4))
    query = explainer.read(Message({"data": picture(1), "method": "smooth_grad", "samples": 40}, explain=True))
    (outcome,) = explainer.begin([query], clock.now + 1000).finish()
    assert isinstance(outcome, Explanation)


def test_the_handlers_deadline_starts_when_the_batch_arrives(clock: Clock) -> None:
    handler = SaliencyHandler()
    handler.explainer = slow(clock, Limits(max_batch_rows=4, max_batch_seconds=3))
    long = {"data": picture(1), "method": b"smooth_grad", "samples": b"400"}
    bodies, context = ask(handler, (EXPLAIN, long), (EXPLAIN, {"data": picture(2)}))
    assert context.statuses == [503, 200]
    assert json.loads(bodies[0])["type"] == "DeadlineException"
    _, context = ask(handler, (EXPLAIN, {"data": picture(2)}))
    assert context.statuses == [200]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds of processor time that the process has used, on one thread."""
    now = [0.0]
    monkeypatch.setattr("time.process_time", lambda: now[0])
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    return now


def working(processor: list[float], limits: Limits) -> Explainer:
    """Return the explainer of a network that needs one second of processor time per row."""

    class Working(Modules):
        def forward(self, x: Tensor) -> Tensor:
            processor[0] += len(x)
            return super().forward(x)

    return Explainer(classifier(made(Working), limits=limits))


def test_d9_a_request_ends_with_504_once_its_processor_time_is_used_and_another_one_is_answered(
    processor: list[float],
) -> None:
    explainer = working(processor, Limits(max_batch_rows=4, max_seconds=10))
    options = [{"method": "smooth_grad", "samples": 400}, {}]
    queries = [explainer.read(Message({"data": picture(1), **each}, explain=True)) for each in options]
    start = processor[0]
    cut, answered = explainer.begin(queries, deadline=1e9).forward().finish()
    assert isinstance(cut, RequestError)
    assert (cut.status, cut.kind) == (504, "DeadlineException")
    assert "10 seconds of processor time (max_seconds)" in cut.message
    assert "fewer samples" in cut.message
    assert isinstance(answered, Explanation)
    assert processor[0] - start <= 10 + 4 + 1


def test_d9_the_time_of_other_requests_in_the_batch_does_not_count(processor: list[float]) -> None:
    explainer = working(processor, Limits(max_batch_rows=4, max_seconds=10))
    messages = [Message({"data": picture(i), "method": "smooth_grad", "samples": 6}, explain=True) for i in range(8)]
    outcomes = explainer.begin([explainer.read(each) for each in messages], deadline=1e9).finish()
    assert all(isinstance(outcome, Explanation) for outcome in outcomes)


def test_d9_in_a_notebook_there_is_no_limit_of_time(processor: list[float]) -> None:
    explainer = working(processor, Limits(max_batch_rows=4, max_seconds=10))
    assert isinstance(explainer.explain(picture(1), method="smooth_grad", samples=40), Explanation)


def test_d9_pictures_of_one_request_share_its_seconds(processor: list[float]) -> None:
    explainer = working(processor, Limits(max_batch_rows=4, max_seconds=10))
    read = explainer.read(Message({"data": picture(1)}, explain=True, pictures=5))
    assert isinstance(read, Query)
    assert read.max_seconds == 2


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

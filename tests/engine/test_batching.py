"""Rows pooled into batches: the other rows of a batch, or their failure, do not change an answer."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.networks import Modules, classifier, inputs, made
from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.engine.rows import Answer, ChannelMask, Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.propagation.relu_rules import Rule
from torchserve_saliency.requests.target_options import RUNNER_UP

PREDICTED = Objective((Rank(0),))
MIXED = [
    Rows(inputs(1, seed=1), PREDICTED),
    Rows(inputs(3, seed=2), Objective((2,)), rule=Rule.GUIDED),
    Rows(inputs(2, seed=3), Objective((1,), against=RUNNER_UP, score="probability"), rule=Rule.DECONVOLUTION),
    Rows(inputs(1, seed=4), Objective((3,)), layers=("second",)),
    Rows(inputs(1, seed=5)),
    Rows(inputs(2, seed=6), Objective((0, 1, Rank(0)))),
    Rows(inputs(1, seed=7), PREDICTED, gradient=False),
    Rows(inputs(1, seed=8), Objective((Rank(0), 4)), layers=("first", "second")),
    Rows(inputs(2, seed=9), layers=("second",)),
    Rows(inputs(3, seed=10), PREDICTED, gradient=False, channel_mask=ChannelMask("first", torch.tensor([0, 7, 2]))),
]


def run(model: Classifier, requests: Sequence[Rows], capacity: int = 64) -> list[Answer | RequestError]:
    pool = Pool(model, requests, capacity)
    pool.forward()
    return pool.answers()


def answers(model: Classifier, requests: Sequence[Rows], capacity: int = 64) -> list[Answer]:
    return [a for a in run(model, requests, capacity) if isinstance(a, Answer)]


def assert_same(one: Answer, other: Answer) -> None:
    assert one.pairs == other.pairs
    torch.testing.assert_close(one.logits, other.logits)
    torch.testing.assert_close(one.scores, other.scores)
    torch.testing.assert_close(one.gradient, other.gradient)
    torch.testing.assert_close(one.activations, other.activations)
    torch.testing.assert_close(one.gradients, other.gradients)


@pytest.mark.parametrize("capacity", [64, 4, 1])
def test_a_batch_gives_each_request_the_same_answer_as_alone(capacity: int) -> None:
    model = classifier(made(Modules))
    together = answers(model, MIXED, capacity)
    assert len(together) == len(MIXED)
    for rows, answer in zip(MIXED, together, strict=True):
        (alone,) = answers(model, [rows])
        assert_same(answer, alone)


class Counting(Modules):
    """Records the number of rows of each forward pass, and if it had a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((len(x), x.requires_grad))
        return super().forward(x)


def test_rows_with_one_target_share_one_forward_and_one_backward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = made(Counting)
    assert isinstance(network, Counting)
    model = classifier(network)
    network.seen.clear()
    calls = []
    grad = torch.autograd.grad

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    answers(model, MIXED[:4])
    assert network.seen == [(7, True)]
    assert len(calls) == 1


def test_rows_without_gradient_run_without_autograd_and_targets_share_a_forward_pass() -> None:
    network = made(Counting)
    assert isinstance(network, Counting)
    model = classifier(network)
    network.seen.clear()
    answers(model, [MIXED[4], MIXED[5], MIXED[6]])
    assert sorted(network.seen) == [(2, False), (2, True)]


def test_an_objective_that_cannot_be_resolved_does_not_affect_other_requests() -> None:
    model = classifier(made(Modules))
    wrong = Rows(inputs(1), Objective((2,), against=2))
    good, bad, other = run(model, [MIXED[0], wrong, MIXED[1]])
    assert isinstance(bad, RequestError)
    assert bad.status == 422
    for rows, answer in ((MIXED[0], good), (MIXED[1], other)):
        assert isinstance(answer, Answer)
        assert_same(answer, answers(model, [rows])[0])


class Small(Modules):
    """Raises an out-of-memory error if a batch has more than `rows` rows."""

    rows = 3

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_a_batch_that_does_not_fit_is_split_until_it_does() -> None:
    network = made(Small)
    assert isinstance(network, Small)
    model, reference = classifier(network), classifier(made(Modules))
    for rows, answer in zip(MIXED, answers(model, MIXED), strict=True):
        assert_same(answer, answers(reference, [rows])[0])


def test_memory_of_a_failed_pass_is_freed_before_its_halves_are_evaluated() -> None:
    held: list[weakref.ref[Tensor]] = []

    class Holding(Modules):
        def forward(self, x: Tensor) -> Tensor:
            activations = self.first(x)
            held.append(weakref.ref(activations))
            alive = sum(len(kept) for ref in held if (kept := ref()) is not None)
            if alive > 3:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    model = classifier(made(Holding))
    held.clear()
    (answer,) = run(model, [Rows(inputs(8), PREDICTED)])
    assert isinstance(answer, Answer)
    assert_same(answer, answers(classifier(made(Modules)), [Rows(inputs(8), PREDICTED)])[0])


def test_only_the_row_that_does_not_fit_alone_is_answered_with_507() -> None:
    class OutOfMemoryAt42(Modules):
        def forward(self, x: Tensor) -> Tensor:
            if (x[:, 0, 0, 0] == 42).any():
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    model = classifier(made(OutOfMemoryAt42))
    big = inputs(1)
    big[0, 0, 0, 0] = 42
    good, bad = run(model, [MIXED[1], Rows(big, PREDICTED)])
    assert isinstance(bad, RequestError)
    assert bad.status == 507
    assert isinstance(good, Answer)
    assert_same(good, answers(model, [MIXED[1]])[0])


def test_any_other_failure_is_500_without_the_exceptions_message() -> None:
    class Broken(Modules):
        def forward(self, x: Tensor) -> Tensor:
            if (x[:, 0, 0, 0] == 42).any():
                raise RuntimeError("secret /path")
            return super().forward(x)

    bad_row = inputs(1)
    bad_row[0, 0, 0, 0] = 42
    model = classifier(made(Broken))
    good, bad = run(model, [Rows(inputs(1)), Rows(bad_row)])
    assert isinstance(good, Answer)
    assert isinstance(bad, RequestError)
    assert bad.status == 500
    assert "secret" not in bad.message


def test_the_callers_inputs_are_not_changed() -> None:
    x = inputs(1)
    before = x.clone()
    answers(classifier(made(Modules)), [Rows(x, PREDICTED)])
    assert not x.requires_grad
    torch.testing.assert_close(x, before, rtol=0, atol=0)


@dataclass(frozen=True)
class Pairs:
    """A mode with groups of two rows; it adds an output with the same value for each row."""

    factor: float = 1.0
    group_size: int = 2
    captures: bool = False

    @contextmanager
    def around(self, rows: int) -> Iterator[Mapping[str, Tensor]]:
        assert rows % 2 == 0
        yield {"ones": torch.full((rows,), self.factor)}


def test_rows_of_equal_modes_share_batches_and_pairs_are_never_split() -> None:
    network = made(Counting)
    assert isinstance(network, Counting)
    model = classifier(network)
    network.seen.clear()
    requests = [Rows(inputs(6), PREDICTED, mode=Pairs()), Rows(inputs(1)), Rows(inputs(2), PREDICTED, mode=Pairs())]
    assert [a.activations.get("ones", torch.zeros(0)).numel() for a in answers(model, requests, 3)] == [6, 0, 2]
    assert sorted(rows for rows, _ in network.seen) == [1, 2, 2, 2, 2]
    network.seen.clear()
    requests = [Rows(inputs(2), PREDICTED, mode=Pairs(1.0)), Rows(inputs(2), PREDICTED, mode=Pairs(2.0))]
    assert [a.activations["ones"].tolist() for a in answers(model, requests)] == [[1, 1], [2, 2]]
    assert [rows for rows, _ in network.seen] == [2, 2]


def test_a_failed_batch_of_pairs_is_split_between_pairs() -> None:
    class Narrow(Counting):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            if len(x) > 2:
                raise MemoryError
            return logits

    network = made(Narrow)
    model = classifier(network)
    found = answers(model, [Rows(inputs(6), PREDICTED, mode=Pairs())])
    torch.testing.assert_close(found[0].logits, made(Modules)(inputs(6)))

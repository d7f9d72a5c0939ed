"""The compiled network beside the eager one: the same maps, and nothing of its failures reaches a request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from saliency.compiled import batch_sizes
from saliency.compiling import compile_network
from saliency.describe import describe
from saliency.engine import Pass
from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.methods import METHODS
from saliency.model import Classifier
from saliency.objective import Objective
from saliency.passes import logits_and_gradient
from saliency.pool import Pool
from saliency.precision import Precision
from saliency.rows import Answer, Rows
from saliency.rules import Rule
from tests.compilation import compiled, runs_of, sizes
from tests.networks import InPlace, Modules, Tokens, classifier, inputs, made
from tests.test_explainer import BATCH, assert_same, explained, read

pytestmark = pytest.mark.usefixtures("compiled_at_any_speed")


@pytest.mark.parametrize(("largest", "expected"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 8)), (8, (1, 2, 4, 8))])
def test_sizes_are_powers_of_two_that_hold_the_largest_batch(largest: int, expected: tuple[int, ...]) -> None:
    assert batch_sizes(largest) == expected


@pytest.mark.parametrize("network", [Modules, InPlace, Tokens])
def test_a_batch_of_any_number_of_rows_is_the_eager_one(
    network: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = compiled(classifier(made(network)))
    seen = runs_of(model, monkeypatch)
    for rows in range(1, 4):
        ours, theirs = (logits_and_gradient(f, inputs(rows)) for f in (model.forward_plain, model.forward))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        with torch.inference_mode():
            torch.testing.assert_close(model.forward_plain(inputs(rows)), model.forward(inputs(rows)))
    assert seen == [1, 1, 2, 2]  # three rows are more than it was compiled for


def test_a_mixed_batch_of_every_method_is_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager, rows=8)
    seen = runs_of(model, monkeypatch)
    asked = BATCH + [{"method": method, "target": "top3"} for method in METHODS]
    queries = [read(Explainer(eager), seed, options) for seed, options in enumerate(asked)]
    queries.append(read(Explainer(eager), 77, {}, explain=False))
    for ours, theirs in zip(explained(Explainer(model), queries), explained(Explainer(eager), queries), strict=True):
        assert_same(ours, theirs)
    assert len(seen) > 3


def test_only_rows_that_nothing_listens_to_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(classifier(made(Modules)))
    seen = runs_of(model, monkeypatch)
    objective = Objective((1,))
    for rows in (Rows(inputs(2), objective, rule=Rule.GUIDED), Rows(inputs(2), objective, layers=("second",))):
        Pass(model, [rows]).forward().backward()
    assert not seen
    Pass(model, [Rows(inputs(2), objective)]).forward().backward()
    Pass(model, [Rows(inputs(1))]).forward().backward()
    assert seen == [2, 1]
    Pool(model, [Rows(inputs(1), objective), Rows(inputs(2), objective, rule=Rule.GUIDED)], capacity=8).answers()
    assert seen == [2, 1, 1]


def test_several_targets_are_several_backward_passes_over_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager, rows=4)
    seen = runs_of(model, monkeypatch)
    answers = [answered(m, Rows(inputs(3), Objective((0, 1, 2, 4), score="probability"))) for m in (model, eager)]
    torch.testing.assert_close(answers[0].grad, answers[1].grad, rtol=1e-4, atol=1e-8)
    assert answers[0].grad.shape[:2] == (4, 3)
    assert seen == [4]


def answered(model: Classifier, rows: Rows) -> Answer:
    (answer,) = Pass(model, [rows]).forward().backward()
    assert isinstance(answer, Answer)
    return answer


def test_no_request_waits_for_a_compilation() -> None:
    explainer = Explainer(compiled(classifier(made(Modules))))
    before = counters["frames"]["total"]
    explained(explainer, [read(explainer, seed, options) for seed, options in enumerate(BATCH)])
    explained(explainer, [read(explainer, 1, {"target": "top2"}), read(explainer, 2, {}, explain=False)])
    assert before > 0
    assert counters["frames"]["total"] == before


def test_a_failing_forward_pass_reaches_no_request(caplog: pytest.LogCaptureFixture) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager)
    assert model.compiled is not None
    model.compiled._function = lambda x: 1 / 0  # type: ignore[assignment, return-value]
    with caplog.at_level(logging.WARNING, "saliency"):
        assert_as_eager(model, eager)
    assert warnings(caplog) == ["the network is served uncompiled: ZeroDivisionError: division by zero"]
    assert describe(model)["compiled"] == sizes()


def test_a_failing_backward_pass_reaches_no_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager)
    failures = iter([RuntimeError("lost")])
    gradient = torch.autograd.grad

    def failing_once(outputs: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        if "Compiled" in str(outputs.grad_fn):
            raise next(failures)
        return gradient(outputs, *args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", failing_once)
    with caplog.at_level(logging.WARNING, "saliency"):
        assert_as_eager(model, eager)
    assert warnings(caplog) == ["the network is served uncompiled: RuntimeError: lost"]


def test_memory_that_runs_out_is_no_reason_to_leave_it(caplog: pytest.LogCaptureFixture) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager)
    assert model.compiled is not None
    run, failures = model.compiled._function, [MemoryError()]

    def failing_once(x: Tensor) -> Tensor:
        if failures:
            raise failures.pop()
        return run(x)

    model.compiled._function = failing_once
    with caplog.at_level(logging.WARNING, "saliency"):
        assert_as_eager(model, eager)
    assert not warnings(caplog)
    assert model.compiled.sizes == sizes(1, 2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of ours: PyTorch traces its compiler to the same place."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("saliency")]


def assert_as_eager(model: Classifier, eager: Classifier) -> None:
    """Ask for two explanations together and one after, and hold them against the eager network's."""
    for seeds in ((0, 1), (2,)):
        queries = [read(Explainer(eager), seed, {"target": "top2"}) for seed in seeds]
        found = explained(Explainer(model), queries)
        assert all(isinstance(outcome, Explanation) for outcome in found)
        for ours, theirs in zip(found, explained(Explainer(eager), queries), strict=True):
            assert_same(ours, theirs)


def test_a_batch_of_another_kind_runs_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(classifier(made(Modules)))
    seen = runs_of(model, monkeypatch)
    assert model.forward_plain(inputs(1, size=20)).shape == (1, 5)
    assert not seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: neither Triton nor CUDA graphs are tried")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_on_the_gpu_it_is_the_eager_network(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(classifier(made(Modules)), device=torch.device("cuda"))
    eager = replace(model, network=model.network.cuda())
    done = compile_network(eager.network, {"mode": mode}, inputs(4).cuda(), Precision())
    assert done is not None
    served = replace(eager, compiled=done)
    seen = runs_of(served, monkeypatch)
    for rows in (1, 2, 3, 4, 3, 1):
        asked = Rows(inputs(rows, seed=rows), Objective((0, 1, 2)))
        ours, theirs = answered(served, asked), answered(eager, asked)
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-2, atol=1e-3 * float(theirs.grad.abs().max()))
    assert seen == [1, 2, 4, 4, 4, 1]

"""The compiled network: its maps are those of eager mode, and its failures do not affect any request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from tests.compilation import compiled, runs_of, sizes
from tests.networks import InPlace, Modules, Tokens, classifier, inputs, made
from tests.test_explainer import BATCH, assert_same, explained, read
from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.network_pass import Pass
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.model.acceleration.compilation import compile_network
from torchserve_saliency.model.acceleration.compiled_network import batch_sizes
from torchserve_saliency.model.acceleration.precision import Precision
from torchserve_saliency.model.acceleration.trial_pass import logits_and_gradient
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.propagation.relu_rules import Rule
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.responses.explanation import Explanation

pytestmark = pytest.mark.usefixtures("compiled_at_any_speed")


@pytest.mark.parametrize(("largest", "expected"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 8)), (8, (1, 2, 4, 8))])
def test_sizes_are_powers_of_two_up_to_the_first_that_fits_the_largest_batch(
    largest: int, expected: tuple[int, ...]
) -> None:
    assert batch_sizes(largest) == expected


@pytest.mark.parametrize("network", [Modules, InPlace, Tokens])
def test_a_batch_of_any_size_has_the_results_of_eager_mode(
    network: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = compiled(classifier(made(network)))
    batches = runs_of(model, monkeypatch)
    for rows in range(1, 4):
        ours, theirs = (logits_and_gradient(f, inputs(rows)) for f in (model.forward_plain, model.forward))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        with torch.inference_mode():
            torch.testing.assert_close(model.forward_plain(inputs(rows)), model.forward(inputs(rows)))
    assert batches == [1, 1, 2, 2]  # three rows exceed the compiled sizes


def test_a_batch_of_all_methods_has_the_results_of_eager_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager, rows=8)
    batches = runs_of(model, monkeypatch)
    requests = BATCH + [{"method": method, "target": "top3"} for method in METHODS]
    queries = [read(Explainer(eager), seed, options) for seed, options in enumerate(requests)]
    queries.append(read(Explainer(eager), 77, {}, explain=False))
    for ours, theirs in zip(explained(Explainer(model), queries), explained(Explainer(eager), queries), strict=True):
        assert_same(ours, theirs)
    assert len(batches) > 3


def test_rows_with_hooks_or_rules_run_in_eager_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(classifier(made(Modules)))
    batches = runs_of(model, monkeypatch)
    objective = Objective((1,))
    for rows in (Rows(inputs(2), objective, rule=Rule.GUIDED), Rows(inputs(2), objective, layers=("second",))):
        Pass(model, [rows]).forward().backward()
    assert not batches
    Pass(model, [Rows(inputs(2), objective)]).forward().backward()
    Pass(model, [Rows(inputs(1))]).forward().backward()
    assert batches == [2, 1]
    Pool(model, [Rows(inputs(1), objective), Rows(inputs(2), objective, rule=Rule.GUIDED)], capacity=8).answers()
    assert batches == [2, 1, 1]


def test_several_targets_need_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager, rows=4)
    batches = runs_of(model, monkeypatch)
    answers = [run(m, Rows(inputs(3), Objective((0, 1, 2, 4), score="probability"))) for m in (model, eager)]
    torch.testing.assert_close(answers[0].grad, answers[1].grad, rtol=1e-4, atol=1e-8)
    assert answers[0].grad.shape[:2] == (4, 3)
    assert batches == [4]


def run(model: Classifier, rows: Rows) -> Answer:
    (answer,) = Pass(model, [rows]).forward().backward()
    assert isinstance(answer, Answer)
    return answer


def test_no_request_is_delayed_by_compilation() -> None:
    explainer = Explainer(compiled(classifier(made(Modules))))
    before = counters["frames"]["total"]
    explained(explainer, [read(explainer, seed, options) for seed, options in enumerate(BATCH)])
    explained(explainer, [read(explainer, 1, {"target": "top2"}), read(explainer, 2, {}, explain=False)])
    assert before > 0
    assert counters["frames"]["total"] == before


def test_a_failing_forward_pass_affects_no_request(caplog: pytest.LogCaptureFixture) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager)
    assert model.compiled is not None
    model.compiled._function = lambda x: 1 / 0  # type: ignore[assignment, return-value]
    with caplog.at_level(logging.WARNING, "torchserve_saliency"):
        assert_as_eager(model, eager)
    assert warnings(caplog) == ["the network is served without compilation: ZeroDivisionError: division by zero"]
    assert describe(model)["compiled"] == sizes()


def test_a_failing_backward_pass_affects_no_request(
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
    with caplog.at_level(logging.WARNING, "torchserve_saliency"):
        assert_as_eager(model, eager)
    assert warnings(caplog) == ["the network is served without compilation: RuntimeError: lost"]


def test_it_stays_compiled_after_out_of_memory(caplog: pytest.LogCaptureFixture) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager)
    assert model.compiled is not None
    function, failures = model.compiled._function, [MemoryError()]

    def failing_once(x: Tensor) -> Tensor:
        if failures:
            raise failures.pop()
        return function(x)

    model.compiled._function = failing_once
    with caplog.at_level(logging.WARNING, "torchserve_saliency"):
        assert_as_eager(model, eager)
    assert not warnings(caplog)
    assert model.compiled.sizes == sizes(1, 2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages logged by the package; PyTorch's compiler logs to the same handler."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("torchserve_saliency")]


def assert_as_eager(model: Classifier, eager: Classifier) -> None:
    """Compare two explanations in a batch, and then a third one, with those of eager mode."""
    for seeds in ((0, 1), (2,)):
        queries = [read(Explainer(eager), seed, {"target": "top2"}) for seed in seeds]
        found = explained(Explainer(model), queries)
        assert all(isinstance(outcome, Explanation) for outcome in found)
        for ours, theirs in zip(found, explained(Explainer(eager), queries), strict=True):
            assert_same(ours, theirs)


def test_a_batch_of_another_picture_size_runs_in_eager_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(classifier(made(Modules)))
    batches = runs_of(model, monkeypatch)
    assert model.forward_plain(inputs(1, size=20)).shape == (1, 5)
    assert not batches


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device, so Triton and CUDA graphs are not tested")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_on_a_gpu_results_are_those_of_eager_mode(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(classifier(made(Modules)), device=torch.device("cuda"))
    eager = replace(model, network=model.network.cuda())
    network = compile_network(eager.network, {"mode": mode}, inputs(4).cuda(), Precision())
    assert network is not None
    served = replace(eager, compiled=network)
    batches = runs_of(served, monkeypatch)
    for rows in (1, 2, 3, 4, 3, 1):
        requested = Rows(inputs(rows, seed=rows), Objective((0, 1, 2)))
        ours, theirs = run(served, requested), run(eager, requested)
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-2, atol=1e-3 * float(theirs.grad.abs().max()))
    assert batches == [1, 2, 4, 4, 4, 1]

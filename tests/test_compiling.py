"""The compiled network beside the eager one: the same maps, and nothing of its failures reaches a request."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torchvision import models

from saliency.compiled import batch_sizes
from saliency.compiling import compile_network
from saliency.describe import describe
from saliency.engine import Pass
from saliency.errors import ModelError
from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.methods import METHODS
from saliency.model import Classifier, load_classifier
from saliency.objective import Objective
from saliency.passes import logits_and_gradient, relative
from saliency.pool import Pool
from saliency.precision import Precision
from saliency.rows import Answer, Rows
from saliency.rules import Rule
from scripts.parity import Case, exact_gradient
from tests.archives import configured, laid_out, unpacked
from tests.networks import InPlace, Modules, Tokens, classifier, inputs, made
from tests.test_explainer import BATCH, assert_same, explained, read

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep networks as small as these compiled, which is slower."""
    monkeypatch.setattr("saliency.compiling._SLOWER", float("inf"))


FAST: Mapping[str, object] = {"backend": "aot_eager"}  # traced, without a compiler's minute


def compiled(model: Classifier, rows: int = 2, options: Mapping[str, object] = FAST) -> Classifier:
    """Return a classifier compiled for batches of up to `rows`."""
    done = compile_network(model.network, options, inputs(rows), Precision())
    assert done is not None
    return replace(model, compiled=done)


def sizes(*each: int) -> dict[str, tuple[int, ...]]:
    """Return these batch sizes for either kind of pass."""
    return {"prediction": each, "gradient": each}


def runs_of(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the rows of each batch that the compiled network runs."""
    assert model.compiled is not None
    run, seen = model.compiled._function, []

    def counted(x: Tensor) -> Tensor:
        seen.append(len(x))
        return run(x)

    monkeypatch.setattr(model.compiled, "_function", counted)
    return seen


# --- the same answers


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
    for rows in (Rows(inputs(2), objective, rule=Rule.GUIDED), Rows(inputs(2), objective, layer="second")):
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


# --- failures


def raising(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
    raise RuntimeError("no kernel for this\nand a long story")


def wrong(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
    return lambda *args: tuple(out * 1.01 for out in graph.forward(*args))


def breaking(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
    return lambda *args: 1 / 0


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (raising, "BackendCompilerFailed: backend='raising' raised: RuntimeError: no kernel for this and a long story"),
        (wrong, "CompileError: compiled for 1 rows, the prediction is off by 1.0e-02 in relative norm"),
        (breaking, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_network_that_cannot_be_compiled_is_served_eager_with_one_warning(
    backend: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "saliency"):
        assert compile_network(made(Modules), {"backend": backend}, inputs(2), Precision()) is None
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()


@dataclass
class Clock:
    """A clock that ticks when it is read; as a backend, it ticks while the compiled network runs, too."""

    now: float = 0.0
    prediction: float = 0.0
    gradient: float = 0.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now

    def __call__(self, graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., Any]:
        def run(*args: Tensor) -> Any:
            self.now += self.gradient if torch.is_grad_enabled() else self.prediction
            return graph.forward(*args)

        return run


@pytest.mark.parametrize(
    ("clock", "kept", "said"),
    [
        (Clock(prediction=2, gradient=3), None, "served uncompiled: CompileError: it takes up to 4.0 times as long"),
        (
            Clock(gradient=3),
            {"prediction": (1,), "gradient": ()},
            "up to 4.0 times as long; those worth while are {'prediction': (1,), 'gradient': ()}",
        ),
        (Clock(prediction=0.1, gradient=0.1), sizes(1), None),
    ],
)
def test_what_is_slower_compiled_is_left_to_the_eager_network(
    clock: Clock,
    kept: Mapping[str, tuple[int, ...]] | None,
    said: str | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("saliency.compiling._SLOWER", 1.11)
    monkeypatch.setattr("saliency.compiling.time", clock)
    with caplog.at_level(logging.WARNING, "saliency"):
        done = compile_network(made(Modules), {"backend": clock}, inputs(1), Precision())
    assert (done and done.sizes) == kept
    assert len(caplog.records) == (said is not None)
    assert said is None or said in caplog.records[0].getMessage()


def test_a_failing_forward_pass_reaches_no_request(caplog: pytest.LogCaptureFixture) -> None:
    eager = classifier(made(Modules))
    model = compiled(eager)
    assert model.compiled is not None
    model.compiled._function = lambda x: 1 / 0  # type: ignore[assignment, return-value]
    with caplog.at_level(logging.WARNING, "saliency"):
        assert_as_eager(model, eager)
    assert [record.getMessage() for record in caplog.records] == [
        "the network is served uncompiled: ZeroDivisionError: division by zero"
    ]
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
    assert [record.getMessage() for record in caplog.records] == [
        "the network is served uncompiled: RuntimeError: lost"
    ]


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
    assert not caplog.records
    assert model.compiled.sizes == sizes(1, 2)


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


# --- archives


def test_an_archive_is_compiled_for_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configured(unpacked(tmp_path), batchSize=3, pt2={"compile": {"enable": True, **FAST}})
    model = load_classifier(folder, CPU)
    assert describe(model)["compiled"] == sizes(1, 2, 4)
    assert describe(load_classifier(folder, CPU, compile_rows=1))["compiled"] == sizes(1)
    assert load_classifier(folder, CPU, compile_rows=0).compiled is None
    seen = runs_of(model, monkeypatch)
    ours, theirs = (logits_and_gradient(f, inputs(3)) for f in (model.forward_plain, model.bare().forward_plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert seen == [4]


def test_no_more_rows_are_compiled_for_than_a_batch_may_hold(tmp_path: Path) -> None:
    limited = unpacked(tmp_path, limits={"max_batch_rows": 3})
    model = load_classifier(configured(limited, pt2={"compile": {"enable": True, **FAST}}), CPU)
    assert describe(model)["compiled"] == sizes(1, 2)


def test_compiled_in_bfloat16_it_is_as_near_as_eager(tmp_path: Path) -> None:
    folder = configured(unpacked(tmp_path, precision="bf16"), batchSize=1, pt2={"compile": {"enable": True, **FAST}})
    model = load_classifier(folder, CPU)
    if not model.precision.reduced:
        pytest.skip("bfloat16 does not work on this machine's CPU")
    assert describe(model)["compiled"] == sizes(1)
    logits = model.forward_plain(inputs(1))
    assert logits.dtype is torch.float32
    torch.testing.assert_close(logits, model.forward(inputs(1)), rtol=0.02, atol=0.02)


def test_an_unknown_mode_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no mode 'fastest'"):
        load_classifier(configured(unpacked(tmp_path), pt2={"compile": {"enable": True, "mode": "fastest"}}), CPU)


# --- the real thing


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_the_real_squeezenet_compiled_is_float64_autograd_to_a_thousandth(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = torch.load(data / "weights" / "squeezenet1_1.pt")
    folder = laid_out(tmp_path, state, {"arch": "squeezenet1_1", "input": IMAGENET})
    model = load_classifier(configured(folder, pt2={"compile": {"enable": True}}), CPU, compile_rows=1)
    seen = runs_of(model, monkeypatch)
    found = Explainer(model).explain(data / "photos" / "great_grey_owl.jpg", reduce="none")
    assert seen == [1]
    plain = models.squeezenet1_1().eval()
    plain.load_state_dict(state)
    exact = exact_gradient(Case(plain, found.picture.tensor[None], found.maps[0].target.index, ""))
    assert relative(torch.from_numpy(found.maps[0].saliency)[None], exact) < 1e-3


IMAGENET = {"size": [224, 224], "resize": [256], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


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

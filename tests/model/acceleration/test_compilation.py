"""Compilation at load: kept if the results are right and it is as fast, else a warning and eager mode."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import models

from tests.archives import configured, laid_out, unpacked
from tests.compilation import FAST, runs_of, sizes
from tests.networks import Modules, inputs, made
from tools.evaluation.parity import ParityCase, exact_gradient
from torchserve_saliency.errors import ModelError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.acceleration.compilation import compile_network
from torchserve_saliency.model.acceleration.precision import Precision
from torchserve_saliency.model.acceleration.trial_pass import logits_and_gradient, relative_error
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency.requests.describe import describe

CPU = torch.device("cpu")
IMAGENET = {"size": [224, 224], "resize": [256], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
pytestmark = pytest.mark.usefixtures("compiled_at_any_speed")


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
        (wrong, "CompileError: compiled for 1 rows, the prediction has a relative error of 1.0e-02"),
        (breaking, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_network_that_cannot_be_compiled_runs_in_eager_mode_with_one_warning(
    backend: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "torchserve_saliency"):
        assert compile_network(made(Modules), {"backend": backend}, inputs(2), Precision()) is None
    (record,) = caplog.records
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()


@dataclass
class Clock:
    """A clock that advances by 1 on each reading, and as a backend, by the time of each compiled pass."""

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
    ("clock", "kept", "warning"),
    [
        (
            Clock(prediction=2, gradient=3),
            None,
            "served without compilation: CompileError: it takes up to 4.0 times as long",
        ),
        (
            Clock(gradient=3),
            {"prediction": (1,), "gradient": ()},
            "up to 4.0 times as long; compiled sizes are {'prediction': (1,), 'gradient': ()}",
        ),
        (Clock(prediction=0.1, gradient=0.1), sizes(1), None),
    ],
)
def test_sizes_that_are_slower_when_compiled_run_in_eager_mode(
    clock: Clock,
    kept: Mapping[str, tuple[int, ...]] | None,
    warning: str | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchserve_saliency.model.acceleration.compilation._MAX_SLOWDOWN", 1.11)
    monkeypatch.setattr("torchserve_saliency.model.acceleration.compilation.time", clock)
    with caplog.at_level(logging.WARNING, "torchserve_saliency"):
        network = compile_network(made(Modules), {"backend": clock}, inputs(1), Precision())
    assert (network and network.sizes) == kept
    assert len(caplog.records) == (warning is not None)
    assert warning is None or warning in caplog.records[0].getMessage()


def test_an_archive_is_compiled_for_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configured(unpacked(tmp_path), batchSize=3, pt2={"compile": {"enable": True, **FAST}})
    model = load_classifier(folder, CPU)
    assert describe(model)["compiled"] == sizes(1, 2, 4)
    assert describe(load_classifier(folder, CPU, compile_rows=1))["compiled"] == sizes(1)
    assert load_classifier(folder, CPU, compile_rows=0).compiled is None
    batches = runs_of(model, monkeypatch)
    ours, theirs = (logits_and_gradient(f, inputs(3)) for f in (model.forward_plain, model.bare().forward_plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert batches == [4]


def test_no_size_above_the_limit_of_a_batch_is_compiled(tmp_path: Path) -> None:
    limited = unpacked(tmp_path, limits={"max_batch_rows": 3})
    model = load_classifier(configured(limited, pt2={"compile": {"enable": True, **FAST}}), CPU)
    assert describe(model)["compiled"] == sizes(1, 2)


def test_compiled_logits_in_bfloat16_are_those_of_eager_mode(tmp_path: Path) -> None:
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


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_the_map_of_a_compiled_squeezenet_has_an_error_below_a_thousandth(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = torch.load(data / "weights" / "squeezenet1_1.pt")
    folder = laid_out(tmp_path, state, {"arch": "squeezenet1_1", "input": IMAGENET})
    model = load_classifier(configured(folder, pt2={"compile": {"enable": True}}), CPU, compile_rows=1)
    explainer = Explainer(model)  # measures the time per pass
    batches = runs_of(model, monkeypatch)
    found = explainer.explain(data / "photos" / "great_grey_owl.jpg", reduce="none")
    assert batches == [1]
    plain = models.squeezenet1_1().eval()
    plain.load_state_dict(state)
    exact = exact_gradient(ParityCase(plain, found.picture.tensor[None], found.maps[0].target.index, ""))
    assert relative_error(torch.from_numpy(found.maps[0].saliency)[None], exact) < 1e-3

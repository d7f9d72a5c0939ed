"""Reduced precision: its errors are measured, and if it does not work, fp32 is used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.archives import returning, unpacked
from tests.networks import Modules, Tokens, classifier, inputs, made
from tests.test_explainer import picture
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.methods.perturbation.feature_ablation import FEATURE_ABLATION_METHODS
from torchserve_saliency.methods.perturbation.occlusion import OCCLUSION_METHODS
from torchserve_saliency.methods.perturbation.rise import RISE_METHODS
from torchserve_saliency.methods.perturbation.shapley import SHAPLEY_METHODS
from torchserve_saliency.methods.perturbation.surrogates import SURROGATE_METHODS
from torchserve_saliency.model.acceleration.precision import Precision, choose_precision, known_precision
from torchserve_saliency.model.acceleration.trial_pass import logits_and_gradient, one_hot_prediction, relative_error
from torchserve_saliency.model.classifier import Classifier, load_classifier
from torchserve_saliency.model.logits import Forward
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query, read_query
from torchserve_saliency.responses.explanation import Explanation

CPU = torch.device("cpu")


def works_in_half(name: str) -> bool:
    """Tell whether convolutions work in a precision on this machine."""
    return choose_precision(name, made(Modules), inputs(2)).precision == name


needs_fp16 = pytest.mark.skipif(not works_in_half("fp16"), reason="float16 does not work on this machine's CPU")
needs_bf16 = pytest.mark.skipif(not works_in_half("bf16"), reason="bfloat16 does not work on this machine's CPU")


def test_float32_is_the_network_itself() -> None:
    network = made(Modules)
    assert choose_precision("fp32", network, inputs(2)) == Precision()
    assert Precision().applied(network) is network


@needs_bf16
def test_the_errors_are_those_of_a_pass_in_that_precision() -> None:
    network, x = made(Modules), inputs(2)
    precision = choose_precision("bf16", network, x)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x).float()
    assert precision.logits_error == pytest.approx(relative_error(logits, network(x)))
    assert 1e-4 < precision.logits_error < 0.05
    assert 1e-4 < precision.gradient_error < 0.2
    assert precision.loss_scale == 1


@needs_fp16
def test_float16_is_more_accurate_than_bfloat16() -> None:
    halves = [choose_precision(name, made(Modules), inputs(2)) for name in ("fp16", "bf16")]
    assert halves[0].logits_error < halves[1].logits_error
    assert halves[0].gradient_error < halves[1].gradient_error


@needs_fp16
def test_gradients_too_small_for_float16_get_a_loss_scale() -> None:
    network = made(Modules)

    def flat(x: Tensor) -> Tensor:
        return network(x) * 1e-5

    chosen = choose_precision("fp16", flat, inputs(2))
    assert chosen.loss_scale > 1
    assert chosen.gradient_error < 0.02
    assert gradient_error(flat, 1.0) > 5 * chosen.gradient_error


def gradient_error(forward: Forward, scale: float) -> float:
    """Return the error of the predicted classes' gradients in float16 with a loss scale."""
    cotangent = one_hot_prediction(forward(inputs(2)))
    _, exact = logits_and_gradient(forward, inputs(2), cotangent)
    _, ours = logits_and_gradient(Precision("fp16").applied(forward), inputs(2), cotangent * scale)
    return relative_error(ours / scale, exact)


@needs_fp16
def test_the_engine_applies_the_loss_scale(tmp_path: Path) -> None:
    loaded = load_classifier(unpacked(tmp_path, returning("logits * 1e-5"), precision="fp16"), CPU)
    assert loaded.precision.loss_scale > 1
    ours, exact = (saliency(one) for one in (loaded, loaded.bare()))
    unscaled = saliency(replace(loaded, precision=Precision("fp16")))
    assert relative_error(ours, exact) < 0.05
    assert relative_error(unscaled, exact) > 2 * relative_error(ours, exact)


def saliency(model: Classifier) -> Tensor:
    """Return the signed gradient of a picture, with its channels."""
    explanation = Explainer(model).explain(picture(0), reduce="none")
    return torch.from_numpy(explanation.maps[0].saliency)


def broken(x: Tensor) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        raise RuntimeError("no kernel for Half")
    return made(Modules)(x)


def steep(x: Tensor) -> Tensor:
    return made(Modules)(x) * 1e7


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (broken, "precision fp16 does not work here, fp32 is used: RuntimeError: no kernel for Half"),
        pytest.param(steep, "precision fp16 is too low for this network, fp32 is used", marks=needs_fp16),
    ],
)
def test_a_precision_that_fails_is_replaced_by_fp32_with_one_warning(
    forward: Forward, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_precision("fp16", forward, inputs(2)) == Precision()
    assert [reason in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("name", ["fp8", "float16", 16, None])
def test_an_unknown_precision_is_a_model_error(tmp_path: Path, name: object) -> None:
    with pytest.raises(ModelError, match=r"unknown precision .*; it must be one of fp32, bf16, fp16"):
        known_precision(name)
    with pytest.raises(ModelError, match="unknown precision"):
        load_classifier(unpacked(tmp_path, precision=name), CPU)


@needs_bf16
@pytest.mark.parametrize("network", [Modules, Tokens])
def test_every_method_works_in_bfloat16(network: type[nn.Module]) -> None:
    exact = classifier(made(network))
    reduced = replace(exact, precision=choose_precision("bf16", exact.network, inputs(2)))
    allowed = 10 * reduced.precision.gradient_error
    # methods that optimise an input are left out: rounding errors accumulate over their steps
    supported = [name for name in METHODS if unsupported_reason(name, exact) is None]
    methods = [name for name in supported if METHODS[name].shows is not Shows.INPUT]
    # a small difference of two scores contains the rounding errors of both
    rounding = 2 * reduced.precision.logits_error * float(exact.forward(inputs(2)).abs().max())
    for name, ours, theirs in zip(methods, maps(reduced, methods), maps(exact, methods), strict=True):
        if name in WITHOUT_GRADIENTS:
            assert 0 < float((ours - theirs).abs().max()) < rounding
        else:
            assert 0 < relative_error(ours, theirs) < allowed


WITHOUT_GRADIENTS = {
    **OCCLUSION_METHODS,
    **RISE_METHODS,
    **FEATURE_ABLATION_METHODS,
    **SURROGATE_METHODS,
    **SHAPLEY_METHODS,
}


def maps(model: Classifier, methods: list[str]) -> list[Tensor]:
    """Return the maps of a batch with one request per method."""
    queries: list[Query | RequestError] = [
        read_query(Message({"data": picture(1), "method": method, "target": 2, "reduce": reduce}, explain=True), model)
        for method in methods
        for reduce in ["none" if METHODS[method].shows is not Shows.SALIENCY else "sum"]
    ]
    outcomes = Explainer(model).begin(queries).forward().finish()
    found = [torch.from_numpy(one.maps[0].saliency) for one in outcomes if isinstance(one, Explanation)]
    assert len(found) == len(methods)
    return found


@needs_bf16
def test_the_description_of_a_model_contains_its_precision_and_errors(tmp_path: Path) -> None:
    loaded = load_classifier(unpacked(tmp_path, precision="bf16"), CPU)
    assert loaded.forward(inputs(1)).dtype is torch.float32
    assert "precision" not in loaded.defaults
    described = describe(loaded)["precision"]
    assert described == {
        "precision": "bf16",
        "logits_error": loaded.precision.logits_error,
        "gradient_error": loaded.precision.gradient_error,
        "loss_scale": 1.0,
    }
    assert 0 < loaded.precision.logits_error < 0.05


REAL: dict[str, Callable[[], nn.Module]] = {
    "squeezenet1_1": models.squeezenet1_1,
    "mobilenet_v2_qat": lambda: models.quantization.mobilenet_v2(quantize=False),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize(
    ("precision", "logits", "gradient"),
    [
        pytest.param("bf16", 0.06, 0.6, marks=needs_bf16),
        pytest.param("fp16", 0.006, 0.25, marks=needs_fp16),
    ],
)
def test_real_networks_keep_their_logits_and_most_of_their_gradient(
    data: Path, name: str, precision: str, logits: float, gradient: float
) -> None:
    network = REAL[name]()
    network.load_state_dict(torch.load(data / "weights" / f"{name}.pt"))
    chosen = choose_precision(precision, network.eval().requires_grad_(False), inputs(1, size=224))
    assert 0 < chosen.logits_error < logits
    assert 0 < chosen.gradient_error < gradient

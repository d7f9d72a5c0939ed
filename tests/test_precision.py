"""Reduced precision: what it costs is measured, what a device or a network cannot bear is served in float32."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from saliency.describe import describe
from saliency.errors import ModelError, RequestError
from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.message import Message
from saliency.methods import METHODS
from saliency.methods.ablation import ABLATION
from saliency.methods.base import Shows
from saliency.methods.occlusion import OCCLUSION
from saliency.methods.rise import RISE
from saliency.methods.shapley import SHAPLEY
from saliency.methods.surrogates import SURROGATES
from saliency.model import Classifier, load_classifier
from saliency.needs import lacking
from saliency.passes import Forward, logits_and_gradient, predicted, relative
from saliency.precision import Precision, choose_precision, known_precision
from saliency.request import Query, read_query
from tests.archives import returning, unpacked
from tests.networks import Modules, Tokens, classifier, inputs, made
from tests.test_explainer import picture

CPU = torch.device("cpu")


def works_in_half(name: str) -> bool:
    """Tell whether this machine's convolutions work in a precision at all."""
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
    assert precision.logits_error == pytest.approx(relative(logits, network(x)))
    assert 1e-4 < precision.logits_error < 0.05
    assert 1e-4 < precision.gradient_error < 0.2
    assert precision.loss_scale == 1


@needs_fp16
def test_float16_is_nearer_than_bfloat16() -> None:
    halves = [choose_precision(name, made(Modules), inputs(2)) for name in ("fp16", "bf16")]
    assert halves[0].logits_error < halves[1].logits_error
    assert halves[0].gradient_error < halves[1].gradient_error


@needs_fp16
def test_gradients_too_small_for_float16_travel_under_a_loss_scale() -> None:
    network = made(Modules)

    def flat(x: Tensor) -> Tensor:
        return network(x) * 1e-5

    chosen = choose_precision("fp16", flat, inputs(2))
    assert chosen.loss_scale > 1
    assert chosen.gradient_error < 0.02
    assert gradient_error(flat, 1.0) > 5 * chosen.gradient_error


def gradient_error(forward: Forward, scale: float) -> float:
    """Return the error in float16 of the predicted classes' gradients under a loss scale."""
    cotangent = predicted(forward(inputs(2)))
    _, exact = logits_and_gradient(forward, inputs(2), cotangent)
    _, ours = logits_and_gradient(Precision("fp16").applied(forward), inputs(2), cotangent * scale)
    return relative(ours / scale, exact)


@needs_fp16
def test_the_engine_travels_under_the_loss_scale(tmp_path: Path) -> None:
    loaded = load_classifier(unpacked(tmp_path, returning("logits * 1e-5"), precision="fp16"), CPU)
    assert loaded.precision.loss_scale > 1
    ours, exact = (saliency(one) for one in (loaded, loaded.bare()))
    unscaled = saliency(replace(loaded, precision=Precision("fp16")))
    assert relative(ours, exact) < 0.05
    assert relative(unscaled, exact) > 2 * relative(ours, exact)


def saliency(model: Classifier) -> Tensor:
    """Return the gradient's map of a picture, with its channels."""
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
        (broken, "precision fp16 does not work here, fp32 is served: RuntimeError: no kernel for Half"),
        pytest.param(steep, "precision fp16 is too little for this network, fp32 is served", marks=needs_fp16),
    ],
)
def test_what_fails_is_served_in_float32_with_one_warning(
    forward: Forward, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_precision("fp16", forward, inputs(2)) == Precision()
    assert [reason in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("name", ["fp8", "float16", 16, None])
def test_an_unknown_precision_is_a_model_error(tmp_path: Path, name: object) -> None:
    with pytest.raises(ModelError, match=r"there is no precision .*, but fp32, bf16, fp16"):
        known_precision(name)
    with pytest.raises(ModelError, match="there is no precision"):
        load_classifier(unpacked(tmp_path, precision=name), CPU)


@needs_bf16
@pytest.mark.parametrize("network", [Modules, Tokens])
def test_every_method_is_answered_in_bfloat16(network: type[nn.Module]) -> None:
    exact = classifier(made(network))
    reduced = replace(exact, precision=choose_precision("bf16", exact.network, inputs(2)))
    allowed = 10 * reduced.precision.gradient_error
    # what climbs step by step climbs away by rounding
    taken = [name for name in METHODS if lacking(name, exact) is None]
    methods = [name for name in taken if METHODS[name].shows is not Shows.INPUT]
    # a difference of scores, however small, hears the rounding of both
    rounding = 2 * reduced.precision.logits_error * float(exact.forward(inputs(2)).abs().max())
    for name, ours, theirs in zip(methods, maps(reduced, methods), maps(exact, methods), strict=True):
        if name in WITHOUT_GRADIENTS:
            assert 0 < float((ours - theirs).abs().max()) < rounding
        else:
            assert 0 < relative(ours, theirs) < allowed


WITHOUT_GRADIENTS = {**OCCLUSION, **RISE, **ABLATION, **SURROGATES, **SHAPLEY}


def maps(model: Classifier, methods: list[str]) -> list[Tensor]:
    """Return the maps of a batch that holds one request of each method."""
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
def test_an_archive_says_its_precision_and_what_it_costs(tmp_path: Path) -> None:
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

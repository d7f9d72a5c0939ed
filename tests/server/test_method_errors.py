"""Every kind of invalid request for a method, sent to a live TorchServe in one batch with a valid request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.serving import (
    ACTIVE_CLASS,
    BATCHED,
    Request,
    assert_same,
    base64_photo,
    json_of,
    json_request,
    photo,
    send,
    send_as_batch,
)
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe

SQ = "sq/2.0"
# the models, and the class that is explained of each
TARGETS = {SQ: ACTIVE_CLASS, "flat": "1", "transformer": "1", "gelu": "1", "scripted": "1"}


def form_request(method: str, model: str = SQ, **fields: str) -> Request:
    """Return an explanation request as a form with a picture."""
    return Request({"method": method, **fields}, path=f"/explanations/{model}")


# invalid requests, and of each error the status, the option and parts of the message
INVALID: dict[str, tuple[Request, int, str | None, Sequence[str]]] = {
    "integer below its minimum": (form_request("smooth_grad", samples="0"), 400, "samples", ["from 1 to 500", "0"]),
    "integer above its maximum": (
        form_request("integrated_gradients", steps="501"),
        400,
        "steps",
        ["from 1 to 500", "501"],
    ),
    "number above its maximum": (form_request("var_grad", noise="11"), 400, "noise", ["from 0 to 10", "11"]),
    "probability of one": (form_request("rise", probability="1"), 400, "probability", ["from 0.01 to 0.99"]),
    "fraction for an integer": (form_request("lime", samples="2.5"), 400, "samples", ["whole number from 1 to 4000"]),
    "word for a number": (form_request("smooth_grad", noise="loud"), 400, "noise", ["number from 0 to 10", "loud"]),
    "list for a number": (
        json_request(BATCHED, data=base64_photo(), method="lime", ridge=[1]),
        400,
        "ridge",
        ["must be a number"],
    ),
    "boolean for an integer": (
        json_request(BATCHED, data=base64_photo(), method="rise", cells=True),
        400,
        "cells",
        ["from 1 to 64"],
    ),
    "unknown baseline": (form_request("occlusion", baseline="zeros"), 400, "baseline", ["black", "mean zero?"]),
    "unknown rule": (form_request("lrp", rule="alpha"), 400, "rule", ["epsilon, gamma, alpha1_beta0"]),
    "window larger than the input": (form_request("occlusion", window="225"), 400, "window", ["224"]),
    "unknown method": (form_request("grad_can"), 400, "method", ["did you mean grad_cam"]),
    "parameter of another method": (
        form_request("grad_cam", samples="5"),
        400,
        "samples",
        ["takes layer", "smooth_grad"],
    ),
    "unknown layer": (
        form_request("hires_cam", layer="featurs"),
        422,
        "layer",
        ["'featurs' does not exist", "features"],
    ),
    "one unknown layer of two": (
        form_request("layer_cam", layer="features;features.13"),
        422,
        "layer",
        ["'features.13' does not exist", "features.12"],
    ),
    "nine layers": (form_request("layer_cam", layer=";".join("abcdefghi")), 400, "layer", ["up to 8"]),
    "two layers for a method of one": (form_request("feature_maps", layer="a;b"), 400, "layer", ["a layer name"]),
    "layer without spatial extent": (
        form_request("grad_cam", layer="classifier.3"),
        422,
        "layer",
        ["has no spatial extent"],
    ),
    "linear layer": (form_request("xgrad_cam", "gelu", layer="head"), 422, "layer", ["spatial extent", "features"]),
    "Grad-CAM without spatial layers": (
        form_request("grad_cam", "flat"),
        422,
        "method",
        ["needs a layer with spatial extent"],
    ),
    "Score-CAM without spatial layers": (
        form_request("score_cam", "flat"),
        422,
        "method",
        ["a layer with spatial extent"],
    ),
    "feature maps without spatial layers": (
        form_request("feature_maps", "flat"),
        422,
        "method",
        ["a layer with spatial extent"],
    ),
    "guided Grad-CAM without ReLUs": (form_request("guided_grad_cam", "transformer"), 422, "method", ["needs ReLUs"]),
    "attention without attention layers": (form_request("generic_attention"), 422, "method", ["needs self-attention"]),
    "LRP in TorchScript": (form_request("lrp", "scripted"), 422, "method", ["which TorchScript forbids"]),
    "too many forward passes": (form_request("rise", samples="8000"), 400, "method", ["8,001", "5,000 (max_forwards)"]),
    "too many seconds": (
        form_request("shapley_value_sampling", "flat", samples="1000", segments="500"),
        504,
        None,
        ["1 seconds of processor time (max_seconds)", "fewer samples"],
    ),
    "quality without a saliency map": (form_request("feature_maps", quality="true"), 400, "quality", ["feature_maps"]),
    "feature maps reduced": (form_request("feature_maps", reduce="max_abs"), 400, "reduce", ["must be none"]),
    "feature maps in original space": (form_request("feature_maps", space="original"), 400, "space", ["must be input"]),
    "feature maps of two classes": (form_request("feature_maps", target="top2"), 400, "target", ["may name one"]),
    "picture for a method that takes none": (
        form_request("activation_maximization", target="1"),
        400,
        "data",
        ["takes none"],
    ),
    "neither picture nor class": (
        json_request(BATCHED, method="activation_maximization"),
        400,
        "target",
        ["name a class"],
    ),
    "no picture for a method that needs one": (json_request(BATCHED, method="rise"), 400, "data", []),
}


@pytest.fixture(scope="module")
def single_replies(server: TorchServe) -> Mapping[str, Reply]:
    """Return the reply to each model's valid request, sent by itself."""
    return {model: send(server, valid_request(model)) for model in TARGETS}


def valid_request(model: str) -> Request:
    """Return a request that the model answers with a map that is not zero."""
    return Request({"target": TARGETS[model]}, data=photo(5), path=f"/explanations/{model}")


@pytest.mark.parametrize("name", INVALID)
def test_invalid_request_gets_its_error_and_does_not_affect_the_batch(
    server: TorchServe, name: str, single_replies: Mapping[str, Reply]
) -> None:
    invalid, status, option, parts = INVALID[name]
    model = invalid.path.removeprefix("/explanations/")
    refused, other = send_as_batch(server, [invalid, valid_request(model)])
    error = json_of(refused)
    assert (refused.status, error["code"], error.get("option")) == (status, status, option), error
    assert [part for part in parts if part not in error["message"]] == [], error["message"]
    assert single_replies[model].status == 200
    assert_same(other, single_replies[model])

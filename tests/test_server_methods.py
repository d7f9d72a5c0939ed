"""Every method, asked of a real TorchServe; and every way to ask for one wrongly, beside a good neighbour."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

from saliency.jobs import MAP_OPTIONS
from saliency.methods import METHODS
from saliency.methods.base import Shows
from scripts.server import TorchServe
from scripts.wire import Reply
from tests.asking import cheap
from tests.serving import HEARD, Ask, assert_same, photo, put, said, together

BATCH = 8
MODELS = {"sq/2.0": HEARD, "flat": "1", "transformer": "1", "gelu": "1", "scripted": "1"}  # and a class of each
SQ = "sq/2.0"


def as_json(model: str, picture: bytes | None, **fields: object) -> Ask:
    """Return a request in JSON, without a picture where there is none."""
    data = {} if picture is None else {"data": base64.b64encode(picture).decode()}
    body = json.dumps(data | fields).encode()
    return Ask(path=f"/explanations/{model}", headers={"Content-Type": "application/json"}, body=body)


def asking(method: str, model: str = SQ, **fields: str) -> Ask:
    """Return a form with a picture."""
    return Ask({"method": method, **fields}, path=f"/explanations/{model}")


# what is asked, the status, the option at fault, and what the message must say
WRONG: dict[str, tuple[Ask, int, str, Sequence[str]]] = {
    "a count below its bounds": (asking("smooth_grad", samples="0"), 400, "samples", ["from 1 to 500", "0"]),
    "a count above its bounds": (asking("integrated_gradients", steps="501"), 400, "steps", ["from 1 to 500", "501"]),
    "a number out of bounds": (asking("var_grad", noise="11"), 400, "noise", ["from 0 to 10", "11"]),
    "a probability of one": (asking("rise", probability="1"), 400, "probability", ["from 0.01 to 0.99"]),
    "a count that is a fraction": (asking("lime", samples="2.5"), 400, "samples", ["whole number from 1 to 4000"]),
    "a number that is a word": (asking("smooth_grad", noise="loud"), 400, "noise", ["number from 0 to 10", "loud"]),
    "a number that is a list": (as_json(SQ, photo(), method="lime", ridge=[1]), 400, "ridge", ["must be a number"]),
    "a count that is a truth": (as_json(SQ, photo(), method="rise", cells=True), 400, "cells", ["from 1 to 64"]),
    "a name that is not one": (asking("occlusion", baseline="zeros"), 400, "baseline", ["black", "mean zero?"]),
    "a rule that is not one": (asking("lrp", rule="alpha"), 400, "rule", ["epsilon, gamma, alpha1_beta0"]),
    "a window beyond the input": (asking("occlusion", window="225"), 400, "window", ["224"]),
    "a method that is not one": (asking("grad_cam_pp"), 400, "method", ["did you mean grad_cam"]),
    "another method's parameter": (asking("grad_cam", samples="5"), 400, "samples", ["takes layer", "smooth_grad"]),
    "no such layer": (asking("hires_cam", layer="featurs"), 422, "layer", ["'featurs' does not exist", "features"]),
    "no such layer among several": (
        asking("layer_cam", layer="features;features.13"),
        422,
        "layer",
        ["'features.13' does not exist", "features.12"],
    ),
    "more layers than eight": (asking("layer_cam", layer=";".join("abcdefghi")), 400, "layer", ["up to 8"]),
    "two layers where one is taken": (asking("feature_maps", layer="a;b"), 400, "layer", ["a layer's name"]),
    "a layer without extent": (asking("grad_cam", layer="classifier.3"), 422, "layer", ["has no spatial extent"]),
    "a linear layer": (asking("xgrad_cam", "gelu", layer="head"), 422, "layer", ["spatial extent", "features"]),
    "a CAM without a grid": (asking("grad_cam", "flat"), 422, "method", ["needs a layer with spatial extent"]),
    "a masked CAM without a grid": (asking("score_cam", "flat"), 422, "method", ["a layer with spatial extent"]),
    "a layer without a grid": (asking("feature_maps", "flat"), 422, "method", ["a layer with spatial extent"]),
    "guided where there is no ReLU": (asking("guided_grad_cam", "transformer"), 422, "method", ["needs ReLUs"]),
    "attention of none": (asking("generic_attention"), 422, "method", ["needs self-attention"]),
    "rules in TorchScript": (asking("lrp", "scripted"), 422, "method", ["which TorchScript forbids"]),
    "too many passes": (asking("rise", samples="8000"), 400, "method", ["8,001", "5,000 (max_forwards)"]),
    "too many seconds": (
        asking("shapley_value_sampling", "flat", samples="1000", segments="500"),
        400,
        "method",
        ["seconds here", "5 (max_seconds)"],
    ),
    "evidence without a map": (asking("feature_maps", quality="true"), 400, "quality", ["feature_maps"]),
    "channels reduced": (asking("feature_maps", reduce="max_abs"), 400, "reduce", ["must be none"]),
    "channels on the original": (asking("feature_maps", space="original"), 400, "space", ["must be input"]),
    "channels of two classes": (asking("feature_maps", target="top2"), 400, "target", ["may name one"]),
    "a picture where none is taken": (asking("activation_maximization", target="1"), 400, "data", ["takes none"]),
    "no picture, and no class": (as_json(SQ, None, method="activation_maximization"), 400, "target", ["name one"]),
    "no picture where one is taken": (as_json(SQ, None, method="rise"), 400, "data", []),
}


@pytest.fixture(scope="module")
def alone(server: TorchServe) -> Mapping[str, Reply]:
    """Return the answer that each model's good request gets by itself."""
    return {model: put(server, good(model)) for model in MODELS}


def good(model: str) -> Ask:
    return Ask({"target": MODELS[model]}, data=photo(5), path=f"/explanations/{model}")


@pytest.mark.parametrize("name", WRONG)
def test_a_method_asked_wrongly_is_refused_by_itself(server: TorchServe, name: str, alone: Mapping[str, Reply]) -> None:
    ask, status, option, words = WRONG[name]
    model = ask.path.removeprefix("/explanations/")
    refused, neighbour = together(server, [ask, good(model)])
    body = said(refused)
    assert (refused.status, body["code"], body["option"]) == (status, status, option), body
    assert [word for word in words if word not in body["message"]] == [], body["message"]
    assert alone[model].status == 200
    assert_same(neighbour, alone[model])


def described(server: TorchServe, model: str) -> dict[str, Any]:
    """Return the methods of the describe route."""
    reply = server.request("GET", f"/models/{model}?customized=true", api="management")
    return cast(dict[str, Any], cast(list[dict[str, Any]], reply.json())[0]["customizedMetadata"]["methods"])


def each(server: TorchServe, asks: Sequence[Ask]) -> list[Reply]:
    """Return the replies of requests that come eight at a time."""
    with ThreadPoolExecutor(BATCH) as pool:
        return list(pool.map(lambda ask: put(server, ask), asks))


def wanted(model: str, method: str, parameters: Mapping[str, object]) -> Ask:
    """Return a request for a method's exact map."""
    made = METHODS[method].shows is Shows.INPUT
    picture = None if made else photo(5)
    return as_json(model, picture, method=method, target=MODELS[model], format="npy", **parameters)


@pytest.mark.parametrize("model", ["sq/2.0", "flat", "transformer"])
def test_every_method_that_the_describe_route_lists_answers_and_again_by_its_parameters(
    server: TorchServe, model: str
) -> None:
    methods = described(server, model)
    replies = each(server, [wanted(model, name, cheap(methods[name]["parameters"])) for name in methods])
    told = dict(zip(methods, map(explained, replies), strict=True))
    for (name, found), reply in zip(told.items(), replies, strict=True):
        assert set(found["parameters"]) == {*MAP_OPTIONS, *methods[name]["parameters"]}, name
        assert np.ptp(np.load(io.BytesIO(reply.body))) > 0, f"{name}: the map is constant"
    again = each(server, [wanted(model, name, found["parameters"]) for name, found in told.items()])
    for one, other in zip(replies, again, strict=True):
        assert_same(one, other)


def explained(reply: Reply) -> dict[str, Any]:
    """Return what the metadata of an array says of its only explanation."""
    assert reply.status == 200, reply.body
    (explanation,) = json.loads(reply.headers["Saliency-Metadata"])["explanations"]
    return cast(dict[str, Any], explanation)


def test_the_models_of_these_tests_take_every_method_between_them(server: TorchServe) -> None:
    taken = {name for model in ("sq/2.0", "flat", "transformer") for name in described(server, model)}
    assert taken == set(METHODS)

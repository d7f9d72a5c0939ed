"""Every method of the describe route, on models of a live TorchServe that support all methods between them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

from tests.asking import cheap
from tests.serving import ACTIVE_CLASS, Request, assert_same, base64_photo, json_request, send
from torchserve_saliency.jobs import MAP_OPTIONS
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe

BATCH = 8
# the models, and the class that is explained of each
TARGETS = {"sq/2.0": ACTIVE_CLASS, "flat": "1", "transformer": "1"}


def described(server: TorchServe, model: str) -> dict[str, Any]:
    """Return the methods that the describe route lists for a model."""
    reply = server.request("GET", f"/models/{model}?customized=true", api="management")
    return cast(dict[str, Any], cast(list[dict[str, Any]], reply.json())[0]["customizedMetadata"]["methods"])


def send_all(server: TorchServe, requests: Sequence[Request]) -> list[Reply]:
    """Return the replies to requests of which eight are sent at a time."""
    with ThreadPoolExecutor(BATCH) as pool:
        return list(pool.map(lambda request: send(server, request), requests))


def map_request(model: str, method: str, parameters: Mapping[str, object]) -> Request:
    """Return a request for a method's map as an array, without a picture if the method makes its own."""
    picture = {} if METHODS[method].shows is Shows.INPUT else {"data": base64_photo(5)}
    fields = {"method": method, "target": TARGETS[model], "format": "npy"}
    return json_request(f"/explanations/{model}", **picture, **fields, **parameters)


@pytest.mark.parametrize("model", TARGETS)
def test_every_described_method_answers_and_its_reported_parameters_reproduce_the_map(
    server: TorchServe, model: str
) -> None:
    methods = described(server, model)
    replies = send_all(server, [map_request(model, name, cheap(methods[name]["parameters"])) for name in methods])
    parameters = dict(zip(methods, map(reported_parameters, replies), strict=True))
    for name, reply in zip(methods, replies, strict=True):
        assert set(parameters[name]) == {*MAP_OPTIONS, *methods[name]["parameters"]}, name
        assert np.ptp(np.load(io.BytesIO(reply.body))) > 0, f"{name}: the map is constant"
    repeated = send_all(server, [map_request(model, name, parameters[name]) for name in methods])
    for name, first, second in zip(methods, replies, repeated, strict=True):
        assert_same(first, second, name)


def reported_parameters(reply: Reply) -> dict[str, Any]:
    """Return the parameters in the metadata of an array of one map."""
    assert reply.status == 200, reply.body
    (explanation,) = json.loads(reply.headers["Saliency-Metadata"])["explanations"]
    return cast(dict[str, Any], explanation["parameters"])


def test_the_three_models_support_every_method_between_them(server: TorchServe) -> None:
    supported = {name for model in TARGETS for name in described(server, model)}
    assert supported == set(METHODS)

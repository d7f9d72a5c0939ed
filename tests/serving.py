"""Requests to the live server, one at a time or as one batch; its workers; and the comparison of its replies."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from tests.test_explainer import picture
from torchserve_saliency_cli.client.transport import Part, Reply, form
from torchserve_saliency_cli.torchserve.server import TorchServe

BATCHED = "/explanations/sq/2.0"
JSON = {"Content-Type": "application/json"}
# The network of `sq` ends in a ReLU: with random weights, most logits are 0 and their maps too, but not this class's.
ACTIVE_CLASS = "French loaf"


@dataclass(frozen=True)
class Request:
    """One POST request: a form with a picture and `fields`, or `body` if it is given."""

    fields: dict[str, str | bytes] = field(default_factory=dict)
    data: bytes | None = None
    path: str = BATCHED
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def json_request(path: str, **fields: object) -> Request:
    """Return a request whose body is a JSON object of the fields."""
    return Request(path=path, headers=JSON, body=json.dumps(fields).encode())


def photo(seed: int = 0, size: tuple[int, int] = (300, 400)) -> bytes:
    """Return a JPEG of smooth shapes: random noise, scaled up to (height, width)."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed, (6, 8)))).resize(size[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def base64_photo(seed: int = 0) -> str:
    """Return a photo as base64 text."""
    return base64.b64encode(photo(seed)).decode()


def bytes_tensor(*pictures: str) -> dict[str, object]:
    """Return base64 pictures as a JSON tensor of the Open Inference Protocol."""
    return {"name": "x", "shape": [len(pictures)], "datatype": "BYTES", "data": list(pictures)}


def uniform_picture(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    """Return a PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def send(server: TorchServe, request: Request) -> Reply:
    """Send a request with the server's token and return the reply."""
    if request.body is not None:
        return server.request("POST", request.path, request.body, request.headers)
    files = [Part("data", request.data or photo(), "picture.jpg")]
    body, content_type = form([*files, *(Part(name, value) for name, value in request.fields.items())])
    return server.request("POST", request.path, body, {"Content-Type": content_type, **request.headers})


def send_as_batch(server: TorchServe, requests: Sequence[Request]) -> list[Reply]:
    """Send requests at the same time and return the replies; fail if the worker's log shows more than one batch."""
    before = _batches(server)
    with ThreadPoolExecutor(len(requests)) as pool:
        replies = list(pool.map(lambda request: send(server, request), requests))
    deadline = time.monotonic() + 5  # the log is written a little later than the reply
    while _batches(server) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _batches(server) == before + 1, "the requests did not share a batch"
    return replies


def _batches(server: TorchServe) -> int:
    """Return the number of batches that the workers have received; they log one line per batch."""
    return server.log(1_000_000).count("Backend received inference at")


def worker_pids(server: TorchServe) -> list[object]:
    """Return the process ids of the workers of all models."""
    return [worker["pid"] for model in server.models() for worker in cast("list[dict[str, object]]", model["workers"])]


def json_of(reply: Reply) -> dict[str, Any]:
    """Return the JSON object of a reply."""
    assert reply.content_type == "application/json"
    return cast(dict[str, Any], reply.json())


def saliency_values(saliency: dict[str, Any]) -> np.ndarray:
    """Return the values of the field `saliency` of a JSON answer, to the precision of its 8-bit PNG."""
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(saliency["data"])))).reshape(saliency["shape"])
    low, high = saliency["min"], saliency["max"]
    return cast(np.ndarray, low + pixels / 255 * (high - low))


def assert_same(one: Reply, other: Reply, name: str = "") -> None:
    """Assert that two replies to the same request are equal up to float32 rounding."""
    assert (one.status, one.content_type) == (other.status, other.content_type)
    if one.content_type == "application/x-npy":
        a, b = (np.load(io.BytesIO(reply.body)) for reply in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max(), err_msg=name)
    elif one.content_type == "image/png":
        a, b = (np.array(Image.open(io.BytesIO(reply.body))).astype(int) for reply in (one, other))
        assert np.abs(a - b).mean() < 1
    else:
        assert_same_json(json_of(one), json_of(other))


def assert_same_json(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Assert that two JSON answers to the same request are equal up to float32 rounding."""
    if "explanations" not in one:
        assert list(one) == list(other)
        for a, b in zip(one.values(), other.values(), strict=True):
            assert a == pytest.approx(b, rel=1e-4) if isinstance(a, float) else a == b
        return
    assert [p["index"] for p in one["predictions"]] == [p["index"] for p in other["predictions"]]
    for a, b in zip(one["explanations"], other["explanations"], strict=True):
        assert (a["target"]["index"], a["parameters"]) == (b["target"]["index"], b["parameters"])
        scale = max(abs(a["saliency"]["max"]), abs(a["saliency"]["min"]))
        np.testing.assert_allclose(saliency_values(a["saliency"]), saliency_values(b["saliency"]), atol=scale / 100)

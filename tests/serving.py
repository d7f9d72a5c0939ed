"""Requests of a live server, alone or in one batch, and what its answers hold."""

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

from scripts.server import TorchServe
from scripts.wire import Part, Reply, form
from tests.test_explainer import picture

BATCHED = "/explanations/sq/2.0"
HEARD = "French loaf"  # of the random network, most logits are cut off at 0 and their maps are zero; not this one's


@dataclass(frozen=True)
class Ask:
    """One request: the form fields beside the picture, or a body of its own."""

    fields: dict[str, str | bytes] = field(default_factory=dict)
    data: bytes | None = None
    path: str = BATCHED
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def photo(seed: int = 0, size: tuple[int, int] = (300, 400)) -> bytes:
    """Return a picture with some form in it: noise scaled up."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed, (6, 8)))).resize(size[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def put(server: TorchServe, ask: Ask) -> Reply:
    if ask.body is not None:
        return server.request("POST", ask.path, ask.body, ask.headers)
    files = [Part("data", ask.data or photo(), "picture.jpg")]
    body, content_type = form([*files, *(Part(name, value) for name, value in ask.fields.items())])
    return server.request("POST", ask.path, body, {"Content-Type": content_type, **ask.headers})


def together(server: TorchServe, asks: Sequence[Ask]) -> list[Reply]:
    """Return the replies of requests that were one batch in the worker, as its log must say."""
    before = _batches(server)
    with ThreadPoolExecutor(len(asks)) as pool:
        replies = list(pool.map(lambda ask: put(server, ask), asks))
    deadline = time.monotonic() + 5  # the log is written a little later than the answer
    while _batches(server) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _batches(server) == before + 1, "the requests did not share a batch"
    return replies


def _batches(server: TorchServe) -> int:
    """Return how many batches the workers have received: they log a line for each."""
    return server.log(1_000_000).count("Backend received inference at")


def said(reply: Reply) -> dict[str, Any]:
    assert reply.content_type == "application/json"
    return cast(dict[str, Any], reply.json())


def values(saliency: dict[str, Any]) -> np.ndarray:
    """Return the saliency that a JSON answer holds."""
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(saliency["data"])))).reshape(saliency["shape"])
    low, high = saliency["min"], saliency["max"]
    return cast(np.ndarray, low + pixels / 255 * (high - low))


def assert_same(one: Reply, other: Reply) -> None:
    """Hold two answers to one request to be the same up to float32 rounding."""
    assert (one.status, one.content_type) == (other.status, other.content_type)
    if one.content_type == "application/x-npy":
        a, b = (np.load(io.BytesIO(reply.body)) for reply in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())
    elif one.content_type == "image/png":
        a, b = (np.array(Image.open(io.BytesIO(reply.body))).astype(int) for reply in (one, other))
        assert np.abs(a - b).mean() < 1
    else:
        assert_same_json(said(one), said(other))


def assert_same_json(one: dict[str, Any], other: dict[str, Any]) -> None:
    if "explanations" not in one:
        assert list(one) == list(other)
        for a, b in zip(one.values(), other.values(), strict=True):
            assert a == pytest.approx(b, rel=1e-4) if isinstance(a, float) else a == b
        return
    assert [p["index"] for p in one["predictions"]] == [p["index"] for p in other["predictions"]]
    for a, b in zip(one["explanations"], other["explanations"], strict=True):
        assert (a["target"]["index"], a["parameters"]) == (b["target"]["index"], b["parameters"])
        scale = max(abs(a["saliency"]["max"]), abs(a["saliency"]["min"]))
        np.testing.assert_allclose(values(a["saliency"]), values(b["saliency"]), atol=scale / 100)


def as_body(**fields: object) -> bytes:
    return json.dumps(fields).encode()

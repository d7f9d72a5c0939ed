"""Requests in KServe's protocols for a handler, and the comparison of its answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saliency_handler import SaliencyHandler
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import ask
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.archive import Limits

# the headers that TorchServe adds on KServe's routes: there is no `url_path`
EXPLAIN = {"explain": "True"}
PREDICT = {"explain": "False"}
Row = tuple[Mapping[str, Any], dict[str, Any]]


@pytest.fixture
def handler() -> SaliencyHandler:
    """Return a handler with the default limits."""
    return serving(Limits())


def serving(limits: Limits) -> SaliencyHandler:
    """Return a handler of a small network."""
    handler = SaliencyHandler()
    handler.explainer = Explainer(classifier(made(Modules), limits=limits))
    return handler


def text(seed: int) -> str:
    """Return a picture as base64 text."""
    return base64.b64encode(picture(seed)).decode()


def pixels(seed: int) -> np.ndarray:
    """Return the pixels of a picture, uint8 [H, W, 3]."""
    return np.array(Image.open(io.BytesIO(picture(seed))).convert("RGB"))


def v1(headers: Mapping[str, Any], *instances: object) -> Row:
    """Return a request in KServe's first protocol."""
    return headers, {"body": {"instances": list(instances)}}


def v2(headers: Mapping[str, Any], datatype: str, shape: list[int], data: object, **fields: Any) -> Row:
    """Return a request in the Open Inference Protocol."""
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return headers, {"body": {"inputs": [tensor], **fields}}


def alone(handler: SaliencyHandler, row: Row) -> tuple[dict[str, Any], int]:
    """Return the JSON and the status of the answer to a request in a batch of its own."""
    (body,), context = ask(handler, row)
    assert context.sent[0]["content-type"] == "application/json"
    return json.loads(body), context.statuses[0]


def outputs(value: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the output tensors of an answer by name."""
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in value["outputs"]}


def close(one: object, other: object) -> None:
    """Assert that two JSON values are equal, except for the last digits of numbers and for two levels of pixels."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - {"data"} if "encoding" in one else one:
            close(one[name], other[name])
        if "encoding" in one:
            levels, others = (np.asarray(Image.open(io.BytesIO(base64.b64decode(p["data"])))) for p in (one, other))
            np.testing.assert_allclose(levels.astype(int), others.astype(int), atol=2)
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            close(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)
    elif isinstance(one, str) and isinstance(other, str) and one.startswith("{"):
        close(json.loads(one), json.loads(other))
    else:
        assert one == other

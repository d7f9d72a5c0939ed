"""Requests by KServe's protocols for a handler, and what its answers hold."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saliency.explainer import Explainer
from saliency.unpacked import Limits
from saliency_handler import SaliencyHandler
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import ask

# what the frontend says of KServe's routes: it writes no `url_path` there
EXPLAIN = {"explain": "True"}
PREDICT = {"explain": "False"}
Row = tuple[Mapping[str, Any], dict[str, Any]]


@pytest.fixture
def handler() -> SaliencyHandler:
    return serving(Limits())


def serving(limits: Limits) -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(classifier(made(Modules), limits=limits))
    return handler


def text(seed: int) -> str:
    return base64.b64encode(picture(seed)).decode()


def pixels(seed: int) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(picture(seed))).convert("RGB"))


def v1(headers: Mapping[str, Any], *instances: object) -> Row:
    return headers, {"body": {"instances": list(instances)}}


def v2(headers: Mapping[str, Any], datatype: str, shape: list[int], data: object, **fields: Any) -> Row:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return headers, {"body": {"inputs": [tensor], **fields}}


def alone(handler: SaliencyHandler, row: Row) -> tuple[dict[str, Any], int]:
    (body,), context = ask(handler, row)
    assert context.sent[0]["content-type"] == "application/json"
    return json.loads(body), context.statuses[0]


def outputs(said: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the tensors of an answer, each in its shape."""
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in said["outputs"]}


def close(one: object, other: object) -> None:
    """Hold two JSON values to be the same but for the last digits of numbers, and pictures but for two levels."""
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

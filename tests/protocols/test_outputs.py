"""Heads, a threshold and the description in every protocol: cases C8 and F7."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saliency_handler import SaliencyHandler
from tests.outputs import two_heads
from tests.test_explainer import picture
from tests.test_handler import ask


@pytest.fixture
def handler(tmp_path: Path) -> SaliencyHandler:
    made = SaliencyHandler()
    made.explainer = two_heads(tmp_path)
    return made


EXPLAIN = {"explain": "True"}
PREDICT = {"url_path": "", "explain": "False"}


def answer_of(handler: SaliencyHandler, headers: Mapping[str, str], fields: dict[str, Any]) -> tuple[int, Any]:
    """Return the status and the JSON body of the answer to one request."""
    (body,), context = ask(handler, (headers, fields))
    return context.statuses[0], json.loads(body)


def test_c8_predictions_are_those_of_the_head(handler: SaliencyHandler) -> None:
    for head, names in ((b"disease", {"scab", "rust"}), (b"species", {"apple", "pear", "plum", "quince"})):
        _, body = answer_of(handler, PREDICT, {"data": picture(3), "head": head})
        assert set(body) == names
        assert list(body.values()) == sorted(body.values(), reverse=True)
        assert (sum(body.values()) == pytest.approx(1)) == (head == b"species")


def test_above_in_kserve_v1_is_a_list_of_any_length(handler: SaliencyHandler) -> None:
    instances = [
        {"data": base64.b64encode(picture(3)).decode(), "head": "disease", "target": f"above{t}"} for t in (0, 1)
    ]
    _, body = answer_of(handler, EXPLAIN, {"body": {"instances": instances}})
    assert [len(entry["explanations"]) for entry in body["explanations"]] == [2, 0]


def test_above_in_kserve_v2_fills_missing_targets(handler: SaliencyHandler) -> None:
    pixels = np.stack([np.full((20, 20, 3), value, np.uint8) for value in (0, 120, 255)])
    parameters = {"head": "disease", "target": "above0.6", "render": "overlay", "reduce": "sum"}
    tensor = {"name": "x", "shape": [3, 20, 20, 3], "datatype": "UINT8", "data": pixels.ravel().tolist()}
    _, body = answer_of(handler, EXPLAIN, {"body": {"inputs": [tensor], "parameters": parameters}})
    outputs = {each["name"]: each for each in body["outputs"]}
    probabilities = np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"])
    counts = (probabilities >= 0.6).sum(1)
    targets = np.reshape(outputs["targets"]["data"], outputs["targets"]["shape"])
    assert targets.shape == (3, counts.max())
    assert ((targets >= 0).sum(1) == counts).all()
    assert len(set(counts)) > 1
    maps = np.reshape(outputs["saliency"]["data"], outputs["saliency"]["shape"])
    assert maps.shape == (3, counts.max(), 16, 16)
    assert (maps.any((2, 3)) == (targets >= 0)).all()
    images = np.reshape(outputs["image"]["data"], outputs["image"]["shape"])
    assert ((images != "") == (targets >= 0)).all()


def test_above_in_kserve_v2_of_no_class_is_a_tensor_without_targets(handler: SaliencyHandler) -> None:
    tensor = {"name": "x", "shape": [2, 20, 20, 3], "datatype": "UINT8", "data": [7] * 2400}
    _, body = answer_of(handler, EXPLAIN, {"body": {"inputs": [tensor], "parameters": {"target": "above1"}}})
    shapes = {each["name"]: each["shape"] for each in body["outputs"]}
    assert (shapes["targets"], shapes["saliency"], shapes["findings"]) == ([2, 0], [2, 0, 16, 16], [2, 0])


@pytest.mark.parametrize(
    "fields",
    [{"describe": b"true"}, {"body": b'{"describe": true}'}, {"body": {"describe": True}}, {"path": "describe=true"}],
)
def test_f7_names_activation_and_heads_are_told_on_both_addresses(
    handler: SaliencyHandler, fields: dict[str, Any]
) -> None:
    described = handler.describe_handle()
    assert (described["labels"], described["activation"]) == (4, "softmax")
    assert described["label_names"] == ["apple", "pear", "plum", "quince"]
    assert described["default_head"] == "species"
    assert described["heads"] == [
        {"name": "species", "labels": 4, "label_names": ["apple", "pear", "plum", "quince"], "activation": "softmax"},
        {"name": "disease", "labels": 2, "label_names": ["scab", "rust"], "activation": "sigmoid"},
    ]
    headers = {"url_path": fields.pop("path", ""), "explain": "False", "content-type": "application/json"}
    _, body = answer_of(handler, headers, fields)
    assert body == json.loads(json.dumps(described))


@pytest.mark.parametrize(
    "fields",
    [
        {"describe": b"false"},
        {"describe": b"maybe"},
        {"describe": b"true", "target": b"1"},
        {"describe": b"true", "data": b"x"},
    ],
)
def test_f7_describe_is_true_and_alone(handler: SaliencyHandler, fields: dict[str, Any]) -> None:
    status, body = answer_of(handler, PREDICT, fields)
    assert (status, body["option"]) == (400, "describe")

"""Input tensors of the Open Inference Protocol, in the forms that clients send them (row D6)."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from tools.cases.case import check
from tools.cases.inputs import (
    LABELS,
    archive_small,
    bare_logits,
    check_refused,
    file_of,
    photograph,
    preprocessed_by_torchvision,
)
from tools.cases.workshop import Answer, InProcess, Workshop

LENGTH = "inference-header-content-length"


def tensors_of_the_open_inference_protocol(workshop: Workshop) -> str:
    """D6: TorchServe's own samples, and forms that are like them."""
    handler = workshop.handler(archive_small(workshop))
    image = photograph()
    data = file_of(image)
    text = base64.b64encode(data).decode("ascii")
    pixels, floats = np.asarray(image), preprocessed_by_torchvision(image).numpy()
    expected = bare_logits(preprocessed_by_torchvision(image))
    flat, levels = floats.ravel().tolist(), pixels.ravel().tolist()
    forms = {
        "BYTES [-1], data a text": tensor("BYTES", [-1], text),
        "BYTES [-1]": tensor("BYTES", [-1], [text]),
        "BYTES [1, 1]": tensor("BYTES", [1, 1], [[text]]),
        "BYTES, a data URL": tensor("BYTES", [1], [f"data:image/png;base64,{text}"]),
        "BYTES, b64": tensor("BYTES", [1], [{"b64": text}]),
        "FP32 [C, H, W]": tensor("FP32", list(floats.shape[1:]), flat),
        "FP32 [1, C, H, W]": tensor("FP32", list(floats.shape), flat),
        "FP32 [-1, C, H, W]": tensor("FP32", [-1, *floats.shape[1:]], flat),
        "FP32 [C, H, W], nested": tensor("FP32", list(floats.shape[1:]), floats[0].tolist()),
        "FP64": tensor("FP64", list(floats.shape), flat),
        "UINT8 [H, W, C]": tensor("UINT8", list(pixels.shape), levels),
        "UINT8 [-1, H, W, C]": tensor("UINT8", [-1, *pixels.shape], levels),
        "UINT8 [1, length], a file": tensor("UINT8", [1, -1], list(data)),
    }
    for name, each in forms.items():
        _check(name, handler.ask({"body": {"inputs": [each]}}), expected)
    binaries = {
        "BYTES": (tensor("BYTES", [1], None), struct.pack("<I", len(data)) + data),
        "FP32": (tensor("FP32", list(floats.shape[1:]), None), floats.tobytes()),
        "UINT8": (tensor("UINT8", [-1, *pixels.shape], None), pixels.tobytes()),
    }
    for name, (each, raw) in binaries.items():
        _check(f"binary {name}", _ask_binary(handler, each, raw), expected)
    wrong = tensor("FP32", [*floats.shape[2:], 3], flat)
    check_refused(handler.ask({"body": {"inputs": [wrong]}}), 400, "[3, 32, 32]", "UINT8")
    check_refused(handler.ask({"body": {"inputs": [tensor("INT64", [1], [1])]}}), 400, "BYTES", "UINT8", "FP32")
    return f"{len(forms)} forms in JSON and {len(binaries)} binary ones taken; channels last as FP32: 400"


def tensor(datatype: str, shape: list[int], data: object) -> dict[str, Any]:
    """Return an input tensor; without data, they follow the JSON."""
    made = {"name": "input", "datatype": datatype, "shape": shape}
    return made if data is None else {**made, "data": data}


def _ask_binary(handler: InProcess, each: dict[str, Any], raw: bytes) -> Answer:
    """Send a tensor with its data after the JSON."""
    head = json.dumps({"inputs": [{**each, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    return handler.ask({"body": head + raw}, True, None, **{LENGTH: str(len(head))})


def _check(name: str, answer: Answer, expected: Mapping[str, float]) -> None:
    """Raise AssertionError if the logits of an answer of tensors are not those of the bare network."""
    check(answer.status == 200, f"{name}: {str(answer.body)[:300]}")
    outputs = {each["name"]: each["data"] for each in answer.body["outputs"]}
    given = dict(zip(outputs["labels"], outputs["logits"], strict=True))
    worst = max(abs(given[label] - expected[label]) for label in LABELS)
    check(worst < 1e-4, f"{name}: the logits differ by {worst:g} from those of the bare network")
    check(max(outputs["saliency"]) > 0, f"{name}: the map is empty")

"""Binary data of tensors after the JSON, written and read by the types of the kserve client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from saliency_handler import SaliencyHandler
from tests.kserve_client import InferInput, InferRequest, InferResponse, RequestedOutput
from tests.kserving import EXPLAIN, Row, close, handler, outputs, pixels, text, v2
from tests.networks import SIZE
from tests.test_explainer import picture
from tests.test_handler import ask
from torchserve_saliency.protocols.kserve_v2_binary import LENGTH

__all__ = ["handler"]


def request(values: np.ndarray, datatype: str, outputs: list[RequestedOutput] | None = None, **options: Any) -> Row:
    """Return the request that the kserve client sends for an array."""
    tensor = InferInput("x", list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    body, length = InferRequest("net", [tensor], request_outputs=outputs, parameters=options).to_rest()
    return {**EXPLAIN, LENGTH: str(length)}, {"body": bytearray(body)}


def read(handler: SaliencyHandler, row: Row) -> dict[str, np.ndarray]:
    """Return the tensors that the kserve client reads from the answer."""
    (body,), context = ask(handler, row)
    assert context.statuses == [200], body
    length = context.sent[0].get(LENGTH)
    binary = length is not None
    assert context.sent[0]["content-type"] == ("application/octet-stream" if binary else "application/json")
    response = InferResponse.from_bytes(body, int(length)) if length else InferResponse.from_rest(json.loads(body))
    return {output.name: output.as_numpy() for output in response.outputs}


SENT: Mapping[str, np.ndarray] = {
    "BYTES": np.array([picture(1), picture(2)], dtype=object),
    "UINT8": np.stack([pixels(1), pixels(2)]),
    "FP32": np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32),
}


@pytest.mark.parametrize("datatype", SENT)
def test_binary_data_are_read_like_the_same_values_in_json(handler: SaliencyHandler, datatype: str) -> None:
    values = SENT[datatype]
    data: object = [text(1), text(2)] if datatype == "BYTES" else values.tolist()
    (body,), _ = ask(handler, v2(EXPLAIN, datatype, list(values.shape), data))
    found = read(handler, request(values, datatype))
    for name, expected in outputs(json.loads(body)).items():
        close(found[name].tolist(), expected.tolist())


def test_all_or_some_outputs_can_be_requested_as_binary_data(handler: SaliencyHandler) -> None:
    options: dict[str, Any] = {"target": "top2", "against": "runner_up", "render": "overlay"}
    plain = read(handler, request(SENT["UINT8"], "UINT8", **options))
    everything = read(handler, request(SENT["UINT8"], "UINT8", binary_data_output=True, **options))
    assert everything.keys() == plain.keys()
    assert everything["saliency"].tobytes() == plain["saliency"].tobytes()
    assert everything["against"].tolist() == plain["against"].tolist()
    wanted = [RequestedOutput("saliency", {"binary_data": True}), RequestedOutput("labels", {"binary_data": False})]
    some = read(handler, request(SENT["UINT8"], "UINT8", outputs=wanted, **options))
    assert some.keys() == {"saliency", "labels"}
    assert some["saliency"].tobytes() == plain["saliency"].tobytes()


def body_of(tensor: Mapping[str, object], behind: bytes = b"", **fields: object) -> tuple[bytes, int]:
    value = json.dumps({"inputs": [tensor], **fields}).encode()
    return value + behind, len(value)


def announced(size: object, datatype: str = "FP32") -> dict[str, object]:
    return {"name": "x", "shape": [1, 3, SIZE, SIZE], "datatype": datatype, "parameters": {"binary_data_size": size}}


WRONG: Mapping[str, tuple[bytes, int | str]] = {
    "a length beyond the body": (b"{}", 3),
    "a length that is none": (b"{}", "two"),
    "a length of other digits": (b"{}", "²"),
    "a negative length": (b"{}", -1),
    "no JSON": (b"abc", 3),
    "JSON without tensors": (b"{}", 2),
    "a tensor that is a number": (b'{"inputs":[3]}', 14),
    "fewer bytes than announced": body_of(announced(8), b"1234"),
    "more bytes than announced": body_of(announced(4), b"12345678"),
    "a size that is a text": body_of(announced("4"), b"1234"),
    "a negative size": body_of(announced(-4), b"1234"),
    "half a number": body_of(announced(3), b"123"),
    "a datatype of others": body_of(announced(4, "FP16"), b"1234"),
    "values that are not finite": body_of(announced(3072), np.full(768, np.nan, "<f4").tobytes()),
    "an element that is longer than the data": body_of(
        {**announced(8, "BYTES"), "shape": [1]}, b"\xff\xff\xff\xff1234"
    ),
    "an element without a length": body_of({**announced(2, "BYTES"), "shape": [1]}, b"12"),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_binary_data_are_an_error_and_do_not_affect_other_requests(handler: SaliencyHandler, name: str) -> None:
    data, length = WRONG[name]
    row = {**EXPLAIN, LENGTH: str(length)}, {"body": bytearray(data)}
    bodies, context = ask(handler, row, v2(EXPLAIN, "BYTES", [1], [text(1)]))
    assert context.statuses == [400, 200]
    assert json.loads(bodies[0])["type"] == "MalformedRequestException"


def test_the_length_header_is_ignored_on_other_routes(handler: SaliencyHandler) -> None:
    forged = {**EXPLAIN, "url_path": "", LENGTH: "3"}, {"body": bytearray(picture(1))}
    (body,), context = ask(handler, forged)
    assert context.statuses == [200]
    assert "explanations" in json.loads(body)


@pytest.mark.parametrize(
    ("accept", "binary", "status"),
    [
        ("application/octet-stream", True, 200),
        ("application/octet-stream", False, 406),
        ("application/json", True, 406),
        ("application/json", False, 200),
        ("*/*", True, 200),
    ],
)
def test_the_accept_header_is_compared_with_the_format_of_the_answer(
    handler: SaliencyHandler, accept: str, binary: bool, status: int
) -> None:
    headers, fields = request(SENT["UINT8"], "UINT8", binary_data_output=binary)
    _, context = ask(handler, ({**headers, "Accept": accept}, fields))
    assert context.statuses == [status]

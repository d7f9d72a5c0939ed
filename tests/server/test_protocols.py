"""KServe's protocols and gRPC on a live TorchServe, with the clients of those projects."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.grpc_client import Client
from tests.kserve_client import InferInput, InferRequest, InferResponse
from tests.kserving import close
from tests.serving import JSON, base64_photo, bytes_tensor, photo
from torchserve_saliency.protocols.kserve_v2_binary import LENGTH
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe

MODEL = "gelu"  # its batch size is 8
SIDE = 32


def post(server: TorchServe, path: str, body: object, **headers: str) -> Reply:
    """Send a body as JSON and return the reply."""
    return server.request("POST", path, json.dumps(body).encode(), {**JSON, **headers})


def infer(server: TorchServe, request: InferRequest, verb: str) -> InferResponse:
    """Send a request of the kserve client, as JSON or binary, and return the response as that client parses it."""
    body, length = request.to_rest()
    path = f"/v2/models/{MODEL}/{verb}"
    if length is None:
        reply = post(server, path, body)
        assert reply.status == 200, reply.body
        return InferResponse.from_rest(reply.json())
    reply = server.request("POST", path, body, {"Content-Type": "application/octet-stream", LENGTH: str(length)})
    assert (reply.status, reply.content_type) == (200, "application/octet-stream"), reply.body
    return InferResponse.from_bytes(reply.body, int(reply.headers[LENGTH]))


def infer_request(datatype: str, values: np.ndarray, binary: bool = False, **parameters: Any) -> InferRequest:
    """Return a request of the kserve client; if `binary` is set, its tensors are binary in both directions."""
    tensor = InferInput("pictures", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    output = {"binary_data_output": True} if binary else {}
    return InferRequest(MODEL, [tensor], request_id="7f", parameters=parameters | output)


def rest_json(server: TorchServe, fields: Mapping[str, object], verb: str = "explanations") -> Any:
    """Return the JSON of the answer on TorchServe's own routes."""
    return post(server, f"/{verb}/{MODEL}", fields).json()


def test_kserve_v1_explains_and_predicts_instances(server: TorchServe) -> None:
    instances = [{"data": base64_photo(1), "target": "3"}, {"data": "!"}]
    instances.append({"data": base64_photo(2), "method": "grad_cam"})
    explained = post(server, f"/v1/models/{MODEL}:explain", {"instances": instances})
    assert (explained.status, explained.content_type) == (200, "application/json")
    first, error, last = explained.json()["explanations"]  # type: ignore[index]
    assert (error["code"], error["option"]) == (400, "data")
    close([first, last], [rest_json(server, instances[0]), rest_json(server, instances[2])])
    predicted = post(server, f"/v1/models/{MODEL}:predict", {"instances": [{"data": base64_photo(1)}]})
    close(predicted.json(), {"predictions": [rest_json(server, {"data": base64_photo(1)}, "predictions")]})
    refused = post(server, f"/v1/models/{MODEL}:predict", {"instances": [{"data": "!"}]})
    assert refused.status == 400


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", ["BYTES", "UINT8", "FP32"])
def test_kserve_v2_explains_the_tensors_of_the_kserve_client(server: TorchServe, datatype: str, binary: bool) -> None:
    files = [photo(1), photo(2)]
    values = {
        "BYTES": np.array(files if binary else [base64_photo(seed).encode() for seed in (1, 2)], dtype=object),
        "UINT8": np.stack([np.array(Image.open(io.BytesIO(file))) for file in files])[:, ::4, ::4].copy(),
        "FP32": np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32),
    }[datatype]
    response = infer(server, infer_request(datatype, values, binary, target="top2", reduce="sum"), "explain")
    assert (response.id, response.model_name) == ("7f", MODEL)
    arrays = {output.name: output.as_numpy() for output in response.outputs}
    assert arrays["saliency"].shape == (2, 2, SIDE, SIDE)
    assert arrays["saliency"].dtype == np.float32
    assert np.isfinite(arrays["saliency"]).all()
    assert arrays["targets"].tolist() == arrays["indices"][:, :2].tolist()
    if datatype == "BYTES":
        fields = {"data": base64_photo(2), "target": "top2", "reduce": "sum", "format": "npy"}
        exact = np.load(io.BytesIO(post(server, f"/explanations/{MODEL}", fields).body))
        np.testing.assert_allclose(arrays["saliency"][1], exact, atol=1e-5 * np.abs(exact).max())


def test_kserve_v2_predictions_equal_those_of_torchserves_route(server: TorchServe) -> None:
    values = np.array([base64_photo(1).encode()], dtype=object)
    response = infer(server, infer_request("BYTES", values, top_k=3), "infer")
    arrays = {output.name: output.as_numpy() for output in response.outputs}
    expected = rest_json(server, {"data": base64_photo(1), "top_k": 3}, "predictions")
    np.testing.assert_allclose(arrays["probabilities"][0], list(expected.values()), rtol=1e-5)


def test_grpc_predicts_and_explains(server: TorchServe, grpc_client: Client) -> None:
    predicted = json.loads(grpc_client.predict(MODEL, {"data": photo(1)}))
    close(predicted, rest_json(server, {"data": base64_photo(1)}, "predictions"))
    fields = {"data": photo(1), "explain": b"true", "method": b"grad_cam", "target": b"2"}
    explained = json.loads(grpc_client.predict(MODEL, fields))
    close(explained, rest_json(server, {"data": base64_photo(1), "method": "grad_cam", "target": "2"}))
    maps = grpc_client.predict(MODEL, {**fields, "format": b"npy"})
    assert np.load(io.BytesIO(maps)).shape == (1, SIDE, SIDE)
    assert Image.open(io.BytesIO(grpc_client.predict(MODEL, {**fields, "format": b"png"}))).size == (SIDE, SIDE)


def test_a_grpc_error_is_the_error_object(grpc_client: Client) -> None:
    no_picture = json.loads(grpc_client.predict(MODEL, {"data": b"no picture"}))
    assert (no_picture["code"], no_picture["type"]) == (415, "UnsupportedImageException")
    unknown = json.loads(grpc_client.predict(MODEL, {"data": photo(1), "colour": b"red"}))
    assert (unknown["code"], unknown["option"]) == (400, "colour")


def test_forged_headers_do_not_change_an_answer(server: TorchServe) -> None:
    forged = {"explain": "True", "describe": "True", "url_path": "target=3&method=grad_cam", "Explain": "False"}
    for path, body in (
        (f"/v1/models/{MODEL}:predict", {"instances": [{"data": base64_photo(1)}]}),
        (f"/v2/models/{MODEL}/infer", {"inputs": [bytes_tensor(base64_photo(1))]}),
        (f"/predictions/{MODEL}", {"data": base64_photo(1)}),
        (f"/explanations/{MODEL}", {"data": base64_photo(1)}),
    ):
        close(post(server, path, body, **forged).json(), post(server, path, body).json())

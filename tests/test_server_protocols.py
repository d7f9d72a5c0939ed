"""KServe's protocols and gRPC, asked of a real TorchServe by the clients that people use."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saliency.protocols.binary import LENGTH
from scripts.server import TorchServe
from scripts.wire import Reply
from tests.grpc_client import Client
from tests.kserve_client import InferInput, InferRequest, InferResponse
from tests.kserving import close
from tests.serving import Ask, photo, put

MODEL = "gelu"  # batches of 8
JSON = {"Content-Type": "application/json"}
SIDE = 32


@pytest.fixture(scope="module")
def grpc_client(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(server, tmp_path_factory.mktemp("proto"))
    yield client
    client.close()


def text(seed: int) -> str:
    return base64.b64encode(photo(seed)).decode()


def post(server: TorchServe, path: str, body: object, **headers: str) -> Reply:
    return server.request("POST", path, json.dumps(body).encode(), {**JSON, **headers})


def infer(server: TorchServe, request: InferRequest, verb: str) -> InferResponse:
    """Return what a request of the kserve client is answered, read by that client."""
    body, length = request.to_rest()
    path = f"/v2/models/{MODEL}/{verb}"
    if length is None:
        reply = post(server, path, body)
        assert reply.status == 200, reply.body
        return InferResponse.from_rest(reply.json())
    said = {"Content-Type": "application/octet-stream", LENGTH: str(length)}
    reply = server.request("POST", path, body, said)
    assert (reply.status, reply.content_type) == (200, "application/octet-stream"), reply.body
    return InferResponse.from_bytes(reply.body, int(reply.headers[LENGTH]))


def request(datatype: str, values: np.ndarray, binary: bool = False, **parameters: Any) -> InferRequest:
    tensor = InferInput("pictures", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    asked = parameters | ({"binary_data_output": True} if binary else {})
    return InferRequest(MODEL, [tensor], request_id="7f", parameters=asked)


def plain(server: TorchServe, fields: Mapping[str, object], verb: str = "explanations") -> Any:
    return post(server, f"/{verb}/{MODEL}", fields).json()


def test_instances_are_explained_and_predicted(server: TorchServe) -> None:
    instances = [{"data": text(1), "target": "3"}, {"data": "!"}, {"data": text(2), "method": "grad_cam"}]
    explained = post(server, f"/v1/models/{MODEL}:explain", {"instances": instances})
    assert (explained.status, explained.content_type) == (200, "application/json")
    first, error, other = explained.json()["explanations"]  # type: ignore[index]
    assert (error["code"], error["option"]) == (400, "data")
    close([first, other], [plain(server, instances[0]), plain(server, instances[2])])
    predicted = post(server, f"/v1/models/{MODEL}:predict", {"instances": [{"data": text(1)}]})
    close(predicted.json(), {"predictions": [plain(server, {"data": text(1)}, "predictions")]})
    refused = post(server, f"/v1/models/{MODEL}:predict", {"instances": [{"data": "!"}]})
    assert refused.status == 400


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", ["BYTES", "UINT8", "FP32"])
def test_the_kserve_clients_tensors_are_explained_in_their_shapes(
    server: TorchServe, datatype: str, binary: bool
) -> None:
    files = [photo(1), photo(2)]
    values = {
        "BYTES": np.array(files if binary else [base64.b64encode(file) for file in files], dtype=object),
        "UINT8": np.stack([np.array(Image.open(io.BytesIO(photo(i)))) for i in (1, 2)])[:, ::4, ::4].copy(),
        "FP32": np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32),
    }[datatype]
    response = infer(server, request(datatype, values, binary, target="top2", reduce="sum"), "explain")
    assert (response.id, response.model_name) == ("7f", MODEL)
    found = {output.name: output.as_numpy() for output in response.outputs}
    assert found["saliency"].shape == (2, 2, SIDE, SIDE)
    assert found["saliency"].dtype == np.float32
    assert np.isfinite(found["saliency"]).all()
    assert found["targets"].tolist() == found["indices"][:, :2].tolist()
    if datatype == "BYTES":
        fields = {"data": text(2), "target": "top2", "reduce": "sum", "format": "npy"}
        exact = np.load(io.BytesIO(post(server, f"/explanations/{MODEL}", fields).body))
        np.testing.assert_allclose(found["saliency"][1], exact, atol=1e-5 * np.abs(exact).max())


def test_the_kserve_clients_predictions_are_the_plain_routes(server: TorchServe) -> None:
    response = infer(server, request("BYTES", np.array([text(1).encode()], dtype=object), top_k=3), "infer")
    found = {output.name: output.as_numpy() for output in response.outputs}
    expected = plain(server, {"data": text(1), "top_k": 3}, "predictions")
    np.testing.assert_allclose(found["probabilities"][0], list(expected.values()), rtol=1e-5)


def test_grpc_predicts_and_explains(server: TorchServe, grpc_client: Client) -> None:
    predicted = json.loads(grpc_client.predict(MODEL, {"data": photo(1)}))
    close(predicted, plain(server, {"data": text(1)}, "predictions"))
    fields = {"data": photo(1), "explain": b"true", "method": b"grad_cam", "target": b"2"}
    explained = json.loads(grpc_client.predict(MODEL, fields))
    close(explained, plain(server, {"data": text(1), "method": "grad_cam", "target": "2"}))
    maps = grpc_client.predict(MODEL, {**fields, "format": b"npy"})
    assert np.load(io.BytesIO(maps)).shape == (1, SIDE, SIDE)
    assert Image.open(io.BytesIO(grpc_client.predict(MODEL, {**fields, "format": b"png"}))).size == (SIDE, SIDE)


def test_over_grpc_an_error_is_the_error_object(grpc_client: Client) -> None:
    said = json.loads(grpc_client.predict(MODEL, {"data": b"no picture"}))
    assert (said["code"], said["type"]) == (415, "UnsupportedImageException")
    unknown = json.loads(grpc_client.predict(MODEL, {"data": photo(1), "colour": b"red"}))
    assert (unknown["code"], unknown["option"]) == (400, "colour")


def test_headers_that_a_client_forges_change_nothing(server: TorchServe) -> None:
    forged = {"explain": "True", "describe": "True", "url_path": "target=3&method=grad_cam", "Explain": "False"}
    for path, body in (
        (f"/v1/models/{MODEL}:predict", {"instances": [{"data": text(1)}]}),
        (f"/v2/models/{MODEL}/infer", {"inputs": [tensor(text(1))]}),
        (f"/predictions/{MODEL}", {"data": text(1)}),
        (f"/explanations/{MODEL}", {"data": text(1)}),
    ):
        close(post(server, path, body, **forged).json(), post(server, path, body).json())


def tensor(*pictures: str) -> dict[str, object]:
    return {"name": "x", "shape": [len(pictures)], "datatype": "BYTES", "data": list(pictures)}


def kinds(server: TorchServe, client: Client) -> list[Callable[[], object]]:
    """Return 32 requests of all protocols: good ones, and one in four that is refused."""

    def rest(seed: int, **fields: str) -> Callable[[], object]:
        return lambda: put(server, Ask(dict(fields), data=photo(seed), path=f"/explanations/{MODEL}")).json()

    def v1(seed: int, verb: str) -> Callable[[], object]:
        good = [{"data": text(seed)}, {"data": text(seed + 1), "target": "1"}]
        entries = good if verb == "explain" else [{"data": 3}]
        return lambda: post(server, f"/v1/models/{MODEL}:{verb}", {"instances": entries}).json()

    def v2(seed: int, **parameters: object) -> Callable[[], object]:
        body = {"id": str(seed), "inputs": [tensor(text(seed), text(seed + 1))], "parameters": parameters}
        return lambda: post(server, f"/v2/models/{MODEL}/explain", body).json()

    def rpc(seed: int, **fields: bytes) -> Callable[[], object]:
        return lambda: json.loads(client.predict(MODEL, {"data": photo(seed), **fields}))

    return [
        ask
        for seed in range(4)
        for ask in (
            rest(seed, method="smooth_grad", samples="4"),
            rest(seed, target="no such class"),
            v1(seed, "explain"),
            v1(seed, "predict"),
            v2(seed, method="grad_cam"),
            v2(seed, method="integrated_gradients", steps=4, target="top2"),
            rpc(seed, explain=b"true", target=b"2"),
            rpc(seed),
        )
    ]


def test_thirty_two_requests_of_all_protocols_at_once_are_each_what_they_are_alone(
    server: TorchServe, grpc_client: Client
) -> None:
    asks = kinds(server, grpc_client)
    alone = [ask() for ask in asks]
    with ThreadPoolExecutor(len(asks)) as pool:
        together = list(pool.map(lambda ask: ask(), asks))
    assert len(together) == 32
    for one, other in zip(together, alone, strict=True):
        close(one, other)


def test_a_request_that_outlives_its_time_is_cut_and_its_worker_lives(server: TorchServe) -> None:
    before = workers(server)
    body = {"data": text(1), "method": "rise", "samples": 800}
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(post, server, "/explanations/hasty", body)
        good = pool.submit(post, server, "/explanations/hasty", {"data": text(2)})
    assert long.result().json()["type"] == "DeadlineException"  # type: ignore[index]
    assert (long.result().status, good.result().status) == (500, 200)
    assert workers(server) == before


def workers(server: TorchServe) -> list[object]:
    return [worker["pid"] for model in server.models() for worker in model["workers"]]  # type: ignore[attr-defined]

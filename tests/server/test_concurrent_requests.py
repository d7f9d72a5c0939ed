"""Concurrent requests to a live TorchServe: in all protocols at once, and next to one that reaches its deadline."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.grpc_client import Client
from tests.kserving import close
from tests.serving import Request, base64_photo, bytes_tensor, json_of, json_request, photo, send, worker_pids
from torchserve_saliency_cli.torchserve.server import TorchServe

MODEL = "gelu"  # its batch size is 8


def mixed_requests(server: TorchServe, client: Client) -> list[Callable[[], object]]:
    """Return 32 functions that send a request, of all protocols, and return its JSON; a quarter of them are invalid."""

    def rest(seed: int, **fields: str | bytes) -> Callable[[], object]:
        return lambda: send(server, Request(fields, data=photo(seed), path=f"/explanations/{MODEL}")).json()

    def v1(seed: int, verb: str) -> Callable[[], object]:
        valid = [{"data": base64_photo(seed)}, {"data": base64_photo(seed + 1), "target": "1"}]
        instances = valid if verb == "explain" else [{"data": 3}]
        return lambda: send(server, json_request(f"/v1/models/{MODEL}:{verb}", instances=instances)).json()

    def v2(seed: int, **parameters: object) -> Callable[[], object]:
        tensor = bytes_tensor(base64_photo(seed), base64_photo(seed + 1))
        body: dict[str, object] = {"id": str(seed), "inputs": [tensor], "parameters": parameters}
        return lambda: send(server, json_request(f"/v2/models/{MODEL}/explain", **body)).json()

    def rpc(seed: int, **fields: bytes) -> Callable[[], object]:
        return lambda: json.loads(client.predict(MODEL, {"data": photo(seed), **fields}))

    return [
        request
        for seed in range(4)
        for request in (
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


def test_32_concurrent_requests_of_all_protocols_are_answered_as_each_by_itself(
    server: TorchServe, grpc_client: Client
) -> None:
    requests = mixed_requests(server, grpc_client)
    single = [request() for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        concurrent = list(pool.map(lambda request: request(), requests))
    assert len(concurrent) == 32
    for one, other in zip(concurrent, single, strict=True):
        close(one, other)


def test_a_request_past_its_deadline_fails_and_the_worker_survives(server: TorchServe) -> None:
    before = worker_pids(server)
    path = "/explanations/hasty"
    slow_request = json_request(path, data=base64_photo(1), method="rise", samples=800)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(send, server, slow_request)
        fast = pool.submit(send, server, json_request(path, data=base64_photo(2)))
    assert json_of(slow.result())["type"] == "DeadlineException"
    assert (slow.result().status, fast.result().status) == (503, 200)
    assert worker_pids(server) == before

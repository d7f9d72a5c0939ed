"""Every error of the contract, on a live TorchServe, in one batch with a valid request that it does not affect."""

from __future__ import annotations

import pytest

from tests.serving import (
    ACTIVE_CLASS,
    BATCHED,
    JSON,
    Request,
    assert_same,
    json_of,
    json_request,
    photo,
    saliency_values,
    send,
    send_as_batch,
    uniform_picture,
)
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe

BOMB = (8000, 8000)  # 64 million pixels, 24 kilobytes
# invalid requests, and the status and the option of each error
INVALID: dict[str, tuple[Request, int, str | None]] = {
    "malformed json": (Request(headers=JSON, body=b'{"data": '), 400, None),
    "json that is a list": (Request(headers=JSON, body=b"[1]"), 400, None),
    "malformed base64": (json_request(BATCHED, data="&&&"), 400, "data"),
    "no data": (json_request(BATCHED, target=1), 400, "data"),
    "unknown option": (Request({"tarqet": "1"}), 400, "tarqet"),
    "wrong type": (Request({"method": "smooth_grad", "samples": "many"}), 400, "samples"),
    "out of range": (Request({"top_k": "101"}), 400, "top_k"),
    "word for a boolean": (Request({"quality": "high"}), 400, "quality"),
    "parameter of another method": (Request({"samples": "5"}), 400, "samples"),
    "not acceptable": (Request(headers={"Accept": "text/html"}), 406, None),
    "too many pixels": (Request(data=uniform_picture((1, 2, 3), BOMB)), 413, None),
    "answer too large": (
        Request({"space": "original", "format": "npy"}, data=uniform_picture((9, 9, 9), (2000, 2000))),
        413,
        None,
    ),
    "not an image": (Request(data=b"%PDF-1.4 not a picture"), 415, None),
    "truncated": (Request(data=photo()[:2000]), 415, None),
    "index out of range": (Request({"target": "1000"}), 422, "target"),
    "unknown label": (Request({"target": "grat grey owl"}), 422, "target"),
    "ambiguous label": (Request({"target": "CARDIGAN"}), 422, "target"),
    "unknown layer": (Request({"method": "grad_cam", "layer": "featurs"}), 422, "layer"),
    "target compared with itself": (Request({"target": "3", "against": "3"}), 422, "against"),
}


@pytest.fixture(scope="module")
def single_reply(server: TorchServe) -> Reply:
    """Return the reply to a valid request, sent by itself."""
    return send(server, Request({"target": ACTIVE_CLASS}, data=photo(5)))


@pytest.mark.parametrize("name", INVALID)
def test_each_error_has_its_status_and_does_not_affect_the_batch(
    server: TorchServe, name: str, single_reply: Reply
) -> None:
    invalid, status, option = INVALID[name]
    refused, other = send_as_batch(server, [invalid, Request({"target": ACTIVE_CLASS}, data=photo(5))])
    error = json_of(refused)
    assert (refused.status, error["code"], error.get("option")) == (status, status, option)
    assert error["type"].endswith("Exception")
    assert "/" not in error["message"].replace("application/", "").replace("image/", "")  # no path
    assert_same(other, single_reply)


def test_an_unknown_label_gets_similar_labels(server: TorchServe) -> None:
    error = json_of(send(server, Request({"target": "grat grey owl"}, path="/explanations/sq")))
    assert "did you mean 'great grey owl'?" in error["message"]


# colours for which the network of tests/models/awkward.py fails, and the status
FAILING = {"red": ((255, 0, 0), 507), "green": ((0, 255, 0), 500), "blue": ((0, 0, 255), 500)}


@pytest.mark.parametrize("name", FAILING)
def test_a_picture_for_which_the_network_fails_does_not_affect_the_batch(server: TorchServe, name: str) -> None:
    colour, status = FAILING[name]
    path = "/explanations/awkward"
    valid = [
        Request(data=uniform_picture((90, 80, 70)), path=path),
        Request(data=uniform_picture((10, 20, 30)), path="/predictions/awkward"),
    ]
    single = [send(server, request) for request in valid]
    failing = Request(data=uniform_picture(colour), path=path)
    first, failed, last = send_as_batch(server, [valid[0], failing, valid[1]])
    assert (failed.status, json_of(failed)["code"]) == (status, status)
    assert b"path" not in failed.body
    assert_same(first, single[0])
    assert_same(last, single[1])


def test_a_method_that_the_network_does_not_support_is_422(server: TorchServe) -> None:
    reply = send(server, Request({"method": "guided_backprop"}, path="/explanations/gelu"))
    assert (reply.status, json_of(reply)["option"]) == (422, "method")
    assert "ReLU" in json_of(reply)["message"]


@pytest.mark.parametrize(("method", "status"), [("gradient", 200), ("grad_cam", 422), ("guided_backprop", 422)])
def test_a_torchscript_network_supports_methods_without_hooks(server: TorchServe, method: str, status: int) -> None:
    path = "/explanations/scripted"
    valid = Request({"target": "3", "method": "integrated_gradients", "steps": "9"}, data=photo(5), path=path)
    single = send(server, valid)
    assert single.status == 200
    reply, other = send_as_batch(server, [Request({"method": method, "target": "top2"}, path=path), valid])
    assert reply.status == status
    assert_same(other, single)
    if status == 200:
        assert all(saliency_values(each["saliency"]).any() for each in json_of(reply)["explanations"])
    else:
        assert json_of(reply)["option"] == "method"
        assert "which TorchScript forbids" in json_of(reply)["message"]


def test_attention_of_a_network_without_attention_is_422(server: TorchServe) -> None:
    reply = send(server, Request({"method": "attention_rollout"}, path="/explanations/sq"))
    assert (reply.status, json_of(reply)["option"]) == (422, "method")
    assert "needs self-attention" in json_of(reply)["message"]


def test_no_worker_died(server: TorchServe) -> None:
    assert send(server, Request()).status == 200
    assert "Worker died" not in server.log(1_000_000)

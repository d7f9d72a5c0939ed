"""Every refusal of the contract, asked of a real TorchServe beside a good request, whose worker lives on."""

from __future__ import annotations

import pytest

from scripts.server import TorchServe
from scripts.wire import Reply
from tests.serving import HEARD, Ask, as_body, assert_same, photo, plain, put, said, together, values

BOMB = (8000, 8000)  # 64 million pixels, 24 kilobytes
WRONG: dict[str, tuple[Ask, int, str | None]] = {
    "malformed json": (Ask(headers={"Content-Type": "application/json"}, body=b'{"data": '), 400, None),
    "json that is a list": (Ask(headers={"Content-Type": "application/json"}, body=b"[1]"), 400, None),
    "malformed base64": (Ask(headers={"Content-Type": "application/json"}, body=as_body(data="&&&")), 400, "data"),
    "no data": (Ask(headers={"Content-Type": "application/json"}, body=as_body(target=1)), 400, "data"),
    "unknown option": (Ask({"tarqet": "1"}), 400, "tarqet"),
    "wrong type": (Ask({"method": "smooth_grad", "samples": "many"}), 400, "samples"),
    "out of range": (Ask({"top_k": "101"}), 400, "top_k"),
    "quality is a word": (Ask({"quality": "high"}), 400, "quality"),
    "not the method's": (Ask({"samples": "5"}), 400, "samples"),
    "not acceptable": (Ask(headers={"Accept": "text/html"}), 406, None),
    "too many pixels": (Ask(data=plain((1, 2, 3), BOMB)), 413, None),
    "answer too large": (Ask({"space": "original", "format": "npy"}, data=plain((9, 9, 9), (2000, 2000))), 413, None),
    "not an image": (Ask(data=b"%PDF-1.4 not a picture"), 415, None),
    "truncated": (Ask(data=photo()[:2000]), 415, None),
    "index out of range": (Ask({"target": "1000"}), 422, "target"),
    "unknown label": (Ask({"target": "grat grey owl"}), 422, "target"),
    "ambiguous label": (Ask({"target": "CARDIGAN"}), 422, "target"),
    "no such layer": (Ask({"method": "grad_cam", "layer": "featurs"}), 422, "layer"),
    "against itself": (Ask({"target": "3", "against": "3"}), 422, "against"),
}


@pytest.fixture(scope="module")
def neighbour(server: TorchServe) -> Reply:
    """Return a good request's answer when it is alone."""
    return put(server, Ask({"target": HEARD}, data=photo(5)))


@pytest.mark.parametrize("name", WRONG)
def test_each_refusal_has_its_status_and_harms_no_neighbour(server: TorchServe, name: str, neighbour: Reply) -> None:
    ask, status, option = WRONG[name]
    refused, good = together(server, [ask, Ask({"target": HEARD}, data=photo(5))])
    body = said(refused)
    assert (refused.status, body["code"], body.get("option")) == (status, status, option)
    assert body["type"].endswith("Exception")
    assert "/" not in body["message"].replace("application/", "").replace("image/", "")
    assert_same(good, neighbour)


def test_near_labels_are_named(server: TorchServe) -> None:
    body = said(put(server, Ask({"target": "grat grey owl"}, path="/explanations/sq")))
    assert "did you mean 'great grey owl'?" in body["message"]


FAILING = {"red": ((255, 0, 0), 507), "green": ((0, 255, 0), 500), "blue": ((0, 0, 255), 500)}


@pytest.mark.parametrize("name", FAILING)
def test_a_picture_that_the_model_fails_on_is_answered_alone(server: TorchServe, name: str) -> None:
    colour, status = FAILING[name]
    path = "/explanations/awkward"
    good = [Ask(data=plain((90, 80, 70)), path=path), Ask(data=plain((10, 20, 30)), path="/predictions/awkward")]
    alone = [put(server, ask) for ask in good]
    first, failed, last = together(server, [good[0], Ask(data=plain(colour), path=path), good[1]])
    assert (failed.status, said(failed)["code"]) == (status, status)
    assert b"path" not in failed.body
    assert_same(first, alone[0])
    assert_same(last, alone[1])


def test_a_method_that_the_network_cannot_take_is_422(server: TorchServe) -> None:
    reply = put(server, Ask({"method": "guided_backprop"}, path="/explanations/gelu"))
    assert (reply.status, said(reply)["option"]) == (422, "method")
    assert "ReLU" in said(reply)["message"]


@pytest.mark.parametrize(("method", "status"), [("gradient", 200), ("grad_cam", 422), ("guided_backprop", 422)])
def test_a_torchscript_network_takes_what_needs_no_hooks(server: TorchServe, method: str, status: int) -> None:
    path = "/explanations/scripted"
    good = Ask({"target": "3", "method": "integrated_gradients", "steps": "9"}, data=photo(5), path=path)
    alone = put(server, good)
    assert alone.status == 200
    reply, neighbour = together(server, [Ask({"method": method, "target": "top2"}, path=path), good])
    assert reply.status == status
    assert_same(neighbour, alone)
    if status == 200:
        assert all(values(explanation["saliency"]).any() for explanation in said(reply)["explanations"])
    else:
        assert said(reply)["option"] == "method"
        assert "which TorchScript forbids" in said(reply)["message"]


def test_attention_of_a_network_that_has_none_is_422(server: TorchServe) -> None:
    reply = put(server, Ask({"method": "attention_rollout"}, path="/explanations/sq"))
    assert (reply.status, said(reply)["option"]) == (422, "method")
    assert "needs self-attention" in said(reply)["message"]


def test_the_worker_lived_through_all_of_it(server: TorchServe) -> None:
    assert put(server, Ask()).status == 200
    assert "Worker died" not in server.log(1_000_000)

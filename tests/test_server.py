"""The contract, asked of a real TorchServe: every route, every way to ask, every status, alone and in a batch."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from scripts.server import TorchServe
from scripts.wire import Part, Reply, form, send
from tests.test_explainer import picture

BATCHED = "/explanations/sq/2.0"
HEARD = "French loaf"  # of the random network, most logits are cut off at 0 and their maps are zero; not this one's


@dataclass(frozen=True)
class Ask:
    """One request: the form fields beside the picture, or a body of its own."""

    fields: dict[str, str | bytes] = field(default_factory=dict)
    data: bytes | None = None
    path: str = BATCHED
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def photo(seed: int = 0, size: tuple[int, int] = (300, 400)) -> bytes:
    """Return a picture with some form in it: noise scaled up."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed, (6, 8)))).resize(size[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def put(server: TorchServe, ask: Ask) -> Reply:
    if ask.body is not None:
        return server.request("POST", ask.path, ask.body, ask.headers)
    files = [Part("data", ask.data or photo(), "picture.jpg")]
    body, content_type = form([*files, *(Part(name, value) for name, value in ask.fields.items())])
    return server.request("POST", ask.path, body, {"Content-Type": content_type, **ask.headers})


def together(server: TorchServe, asks: Sequence[Ask]) -> list[Reply]:
    """Return the replies of requests that were one batch in the worker, as its log must say."""
    before = _batches(server)
    with ThreadPoolExecutor(len(asks)) as pool:
        replies = list(pool.map(lambda ask: put(server, ask), asks))
    deadline = time.monotonic() + 5  # the log is written a little later than the answer
    while _batches(server) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _batches(server) == before + 1, "the requests did not share a batch"
    return replies


def _batches(server: TorchServe) -> int:
    """Return how many batches the workers have received: they log a line for each."""
    return server.log(1_000_000).count("Backend received inference at")


def said(reply: Reply) -> dict[str, Any]:
    assert reply.content_type == "application/json"
    return cast(dict[str, Any], reply.json())


def values(saliency: dict[str, Any]) -> np.ndarray:
    """Return the saliency that a JSON answer holds."""
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(saliency["data"])))).reshape(saliency["shape"])
    low, high = saliency["min"], saliency["max"]
    return cast(np.ndarray, low + pixels / 255 * (high - low))


def assert_same(one: Reply, other: Reply) -> None:
    """Hold two answers to one request to be the same up to float32 rounding."""
    assert (one.status, one.content_type) == (other.status, other.content_type)
    if one.content_type == "application/x-npy":
        a, b = (np.load(io.BytesIO(reply.body)) for reply in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())
    elif one.content_type == "image/png":
        a, b = (np.array(Image.open(io.BytesIO(reply.body))).astype(int) for reply in (one, other))
        assert np.abs(a - b).mean() < 1
    else:
        assert_same_json(said(one), said(other))


def assert_same_json(one: dict[str, Any], other: dict[str, Any]) -> None:
    if "explanations" not in one:
        assert list(one) == list(other)
        for a, b in zip(one.values(), other.values(), strict=True):
            assert a == pytest.approx(b, rel=1e-4) if isinstance(a, float) else a == b
        return
    assert [p["index"] for p in one["predictions"]] == [p["index"] for p in other["predictions"]]
    for a, b in zip(one["explanations"], other["explanations"], strict=True):
        assert (a["target"]["index"], a["parameters"]) == (b["target"]["index"], b["parameters"])
        scale = max(abs(a["saliency"]["max"]), abs(a["saliency"]["min"]))
        np.testing.assert_allclose(values(a["saliency"]), values(b["saliency"]), atol=scale / 100)


def test_an_explanation_holds_predictions_and_saliency(server: TorchServe) -> None:
    reply = put(server, Ask(path="/explanations/sq"))
    body = said(reply)
    assert reply.status == 200
    assert len(reply.body) < 100_000
    assert body["model"] == {"name": "sq", "version": "1.0"}
    assert set(body["predictions"][0]) == {"index", "label", "probability", "logit"}
    (explanation,) = body["explanations"]
    assert explanation["target"] == body["predictions"][0]
    assert (explanation["against"], explanation["method"], explanation["quality"]) == (None, "gradient", None)
    assert values(explanation["saliency"]).shape == (224, 224)
    assert "image" not in explanation
    assert (body["input"]["width"], body["input"]["height"]) == (400, 300)


def test_predictions_answer_as_image_classifier_does_and_equal_the_explanations(server: TorchServe) -> None:
    predicted = said(put(server, Ask(path="/predictions/sq")))
    explained = said(put(server, Ask(path="/explanations/sq")))["predictions"]
    assert len(predicted) == 5
    assert list(predicted.values()) == pytest.approx([p["probability"] for p in explained], rel=1e-4)
    assert list(predicted.values()) == sorted(predicted.values(), reverse=True)


def test_every_way_to_ask_gets_the_same_answer(server: TorchServe) -> None:
    text = base64.b64encode(photo()).decode()
    as_json = {"Content-Type": "application/json"}
    asks = [
        Ask({"target": "zebra", "method": "grad_cam"}, path="/explanations/sq"),
        Ask(path="/explanations/sq", headers=as_json, body=_json(data=text, target="ZEBRA", method="grad_cam")),
        Ask(path="/explanations/sq", headers=as_json, body=_json(data={"b64": text}, target=340, method="grad_cam")),
        Ask(path="/explanations/sq/1.0/target=340&method=grad_cam", body=photo()),
        Ask(path="/explanations/sq/1.0/target=zebra&method=grad%5Fcam", body=photo()),
        Ask({"target": "zebra", "method": "grad_cam", "explain": "true"}, path="/predictions/sq"),
        Ask(path="/predictions/sq/1.0/explain=true&target=zebra&method=grad_cam", body=photo()),
    ]
    first, *others = [put(server, ask) for ask in asks]
    assert said(first)["explanations"][0]["target"]["label"] == "zebra"
    for other in others:
        assert_same(first, other)


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_formats_follow_the_option_or_accept(server: TorchServe) -> None:
    exact = put(server, Ask({"format": "npy", "target": "top2"}, path="/explanations/sq"))
    assert exact.content_type == "application/x-npy"
    array = np.load(io.BytesIO(exact.body))
    assert (array.shape, array.dtype) == ((2, 224, 224), np.float32)
    metadata = json.loads(exact.headers["Saliency-Metadata"])
    body = said(put(server, Ask({"target": "top2"}, path="/explanations/sq")))
    assert metadata["predictions"] == body["predictions"]
    for row, explanation in zip(array, body["explanations"], strict=True):
        step = (explanation["saliency"]["max"] - explanation["saliency"]["min"]) / 255
        np.testing.assert_allclose(values(explanation["saliency"]), row, atol=step * 0.51)
    drawn = put(server, Ask(headers={"Accept": "image/png"}, path="/explanations/sq"))
    assert drawn.content_type == "image/png"
    assert Image.open(io.BytesIO(drawn.body)).size == (224, 224)


@pytest.mark.parametrize("render", ["overlay", "side_by_side", "masked", "contours"])
@pytest.mark.parametrize("space", ["input", "original"])
def test_pictures_come_with_the_json(server: TorchServe, render: str, space: str) -> None:
    body = said(put(server, Ask({"render": render, "space": space}, path="/explanations/sq")))
    image = body["explanations"][0]["image"]
    width, height = Image.open(io.BytesIO(base64.b64decode(image["data"]))).size
    assert (image["render"], image["space"], image["shape"]) == (render, space, [height, width])
    assert height == (224 if space == "input" else 300)


def test_render_none_leaves_predictions_targets_and_scores(server: TorchServe) -> None:
    (explanation,) = said(put(server, Ask({"render": "none"}, path="/explanations/sq")))["explanations"]
    assert not {"saliency", "image"} & set(explanation)
    assert explanation["target"]["logit"] == pytest.approx(explanation["score"])


def test_the_describe_route_says_what_the_model_can_explain(server: TorchServe) -> None:
    reply = server.request("GET", "/models/sq?customized=true", api="management")
    metadata = cast(list[dict[str, Any]], reply.json())[0]["customizedMetadata"]
    assert metadata["labels"] == 1000
    assert metadata["methods"]["integrated_gradients"]["parameters"]["steps"]["default"] == 50
    assert "features" in metadata["layers"]
    assert {"input", "limits", "self_check"} <= set(metadata)


def test_quality_puts_figures_beside_a_map_and_those_of_a_random_one(server: TorchServe) -> None:
    reply = put(server, Ask({"quality": "true", "target": "zebra", "render": "none"}, path="/explanations/sq"))
    (explanation,) = said(reply)["explanations"]
    quality = explanation["quality"]
    assert {"deletion_blur", "insertion_mean", "road", "infidelity", "sparseness", "top_share"} < set(quality)
    assert 0 < quality["deletion_blur"]["value"] < 1
    assert quality["sparseness"]["value"] != quality["sparseness"]["random"]
    assert quality["completeness_gap"] == {"value": None, "random": None}
    assert (quality["forwards"], quality["backwards"]) == (164, 4)


BOMB = (8000, 8000)  # 64 million pixels, 24 kilobytes
WRONG: dict[str, tuple[Ask, int, str | None]] = {
    "malformed json": (Ask(headers={"Content-Type": "application/json"}, body=b'{"data": '), 400, None),
    "json that is a list": (Ask(headers={"Content-Type": "application/json"}, body=b"[1]"), 400, None),
    "malformed base64": (Ask(headers={"Content-Type": "application/json"}, body=_json(data="&&&")), 400, "data"),
    "no data": (Ask(headers={"Content-Type": "application/json"}, body=_json(target=1)), 400, "data"),
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


def test_eight_requests_of_one_batch_are_each_what_they_are_alone(server: TorchServe) -> None:
    asks = [
        Ask({"target": "zebra"}, data=photo(1)),
        Ask({"method": "grad_cam", "target": "tabby"}, data=photo(2)),
        Ask(data=photo(3)[:1500]),
        Ask({"method": "guided_backprop", "target": "22", "against": "runner_up"}, data=photo(4)),
        Ask({"method": "integrated_gradients", "steps": "8", "format": "npy"}, data=photo(5)),
        Ask(data=b"nothing to see"),
        Ask(data=photo(6), path="/predictions/sq/2.0"),
        Ask({"target": "toucan;goose", "reduce": "sum", "render": "overlay"}, data=photo(7)),
    ]
    replies = together(server, asks)
    assert [reply.status for reply in replies] == [200, 200, 415, 200, 200, 415, 200, 200]
    for ask, reply in zip(asks, replies, strict=True):
        assert_same(reply, put(server, ask))


def test_forged_headers_change_no_route(server: TorchServe) -> None:
    forged = {"explain": "True", "Explain": "True", "describe": "True", "url_path": "target=9999"}
    reply = put(server, Ask(path="/predictions/sq", headers=forged))
    assert reply.status == 200
    assert len(said(reply)) == 5


def test_without_a_token_nothing_is_answered(server: TorchServe) -> None:
    body, content_type = form([Part("data", photo(), "picture.jpg")])
    for token in (None, "wrong"):
        reply = send(server.url + "/explanations/sq", "POST", body, {"Content-Type": content_type}, token)
        assert reply.status in (400, 401)
        assert b"saliency" not in reply.body


def test_the_worker_lived_through_all_of_it(server: TorchServe) -> None:
    assert put(server, Ask()).status == 200
    assert "Worker died" not in server.log(1_000_000)

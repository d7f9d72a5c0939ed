"""The contract, asked of a real TorchServe: every route and every way to ask, alone and in a batch."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from scripts.server import TorchServe
from scripts.wire import Part, form, send
from tests.serving import Ask, as_body, assert_same, photo, put, said, together, values


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
        Ask(path="/explanations/sq", headers=as_json, body=as_body(data=text, target="ZEBRA", method="grad_cam")),
        Ask(path="/explanations/sq", headers=as_json, body=as_body(data={"b64": text}, target=340, method="grad_cam")),
        Ask(path="/explanations/sq/1.0/target=340&method=grad_cam", body=photo()),
        Ask(path="/explanations/sq/1.0/target=zebra&method=grad%5Fcam", body=photo()),
        Ask({"target": "zebra", "method": "grad_cam", "explain": "true"}, path="/predictions/sq"),
        Ask(path="/predictions/sq/1.0/explain=true&target=zebra&method=grad_cam", body=photo()),
    ]
    first, *others = [put(server, ask) for ask in asks]
    assert said(first)["explanations"][0]["target"]["label"] == "zebra"
    for other in others:
        assert_same(first, other)


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

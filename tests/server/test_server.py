"""Valid requests to a live TorchServe: every route, every form of a request, single requests and batches."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from tests.serving import (
    Request,
    assert_same,
    base64_photo,
    json_of,
    json_request,
    photo,
    saliency_values,
    send,
    send_as_batch,
)
from torchserve_saliency_cli.client import transport
from torchserve_saliency_cli.client.transport import Part, form
from torchserve_saliency_cli.torchserve.server import TorchServe


def test_an_explanation_has_predictions_and_saliency(server: TorchServe) -> None:
    reply = send(server, Request(path="/explanations/sq"))
    body = json_of(reply)
    assert reply.status == 200
    assert len(reply.body) < 100_000
    assert body["model"] == {"name": "sq", "version": "1.0"}
    assert set(body["predictions"][0]) == {"index", "label", "probability", "logit"}
    (explanation,) = body["explanations"]
    assert explanation["target"] == body["predictions"][0]
    assert (explanation["against"], explanation["method"], explanation["quality"]) == (None, "gradient", None)
    assert saliency_values(explanation["saliency"]).shape == (224, 224)
    assert "image" not in explanation
    assert (body["input"]["width"], body["input"]["height"]) == (400, 300)


def test_predictions_have_the_form_of_image_classifier_and_equal_those_of_explanations(server: TorchServe) -> None:
    predicted = json_of(send(server, Request(path="/predictions/sq")))
    explained = json_of(send(server, Request(path="/explanations/sq")))["predictions"]
    assert len(predicted) == 5
    assert list(predicted.values()) == pytest.approx([p["probability"] for p in explained], rel=1e-4)
    assert list(predicted.values()) == sorted(predicted.values(), reverse=True)


def test_the_forms_of_a_request_get_the_same_answer(server: TorchServe) -> None:
    path, text = "/explanations/sq", base64_photo()
    requests = [
        Request({"target": "zebra", "method": "grad_cam"}, path=path),
        json_request(path, data=text, target="ZEBRA", method="grad_cam"),
        json_request(path, data={"b64": text}, target=340, method="grad_cam"),
        Request(path=f"{path}/1.0/target=340&method=grad_cam", body=photo()),
        Request(path=f"{path}/1.0/target=zebra&method=grad%5Fcam", body=photo()),
        Request({"target": "zebra", "method": "grad_cam", "explain": "true"}, path="/predictions/sq"),
        Request(path="/predictions/sq/1.0/explain=true&target=zebra&method=grad_cam", body=photo()),
    ]
    first, *others = [send(server, request) for request in requests]
    assert json_of(first)["explanations"][0]["target"]["label"] == "zebra"
    for other in others:
        assert_same(first, other)


def test_the_format_is_that_of_the_option_or_of_accept(server: TorchServe) -> None:
    exact = send(server, Request({"format": "npy", "target": "top2"}, path="/explanations/sq"))
    assert exact.content_type == "application/x-npy"
    array = np.load(io.BytesIO(exact.body))
    assert (array.shape, array.dtype) == ((2, 224, 224), np.float32)
    metadata = json.loads(exact.headers["Saliency-Metadata"])
    body = json_of(send(server, Request({"target": "top2"}, path="/explanations/sq")))
    assert metadata["predictions"] == body["predictions"]
    for row, explanation in zip(array, body["explanations"], strict=True):
        step = (explanation["saliency"]["max"] - explanation["saliency"]["min"]) / 255
        np.testing.assert_allclose(saliency_values(explanation["saliency"]), row, atol=step * 0.51)
    drawn = send(server, Request(headers={"Accept": "image/png"}, path="/explanations/sq"))
    assert drawn.content_type == "image/png"
    assert Image.open(io.BytesIO(drawn.body)).size == (224, 224)


@pytest.mark.parametrize("render", ["overlay", "side_by_side", "masked", "contours"])
@pytest.mark.parametrize("space", ["input", "original"])
def test_the_json_has_the_rendered_picture(server: TorchServe, render: str, space: str) -> None:
    body = json_of(send(server, Request({"render": render, "space": space}, path="/explanations/sq")))
    image = body["explanations"][0]["image"]
    width, height = Image.open(io.BytesIO(base64.b64decode(image["data"]))).size
    assert (image["render"], image["space"], image["shape"]) == (render, space, [height, width])
    assert height == (224 if space == "input" else 300)


def test_render_none_answers_predictions_targets_and_scores_only(server: TorchServe) -> None:
    (explanation,) = json_of(send(server, Request({"render": "none"}, path="/explanations/sq")))["explanations"]
    assert not {"saliency", "image"} & set(explanation)
    assert explanation["target"]["logit"] == pytest.approx(explanation["score"])


def test_the_describe_route_lists_methods_layers_and_limits(server: TorchServe) -> None:
    reply = server.request("GET", "/models/sq?customized=true", api="management")
    metadata = cast(list[dict[str, Any]], reply.json())[0]["customizedMetadata"]
    assert metadata["labels"] == 1000
    assert metadata["methods"]["integrated_gradients"]["parameters"]["steps"]["default"] == 50
    assert "features" in metadata["layers"]
    assert {"input", "limits", "self_check"} <= set(metadata)


def test_quality_adds_scores_of_the_map_and_of_a_random_map(server: TorchServe) -> None:
    reply = send(server, Request({"quality": "true", "target": "zebra", "render": "none"}, path="/explanations/sq"))
    (explanation,) = json_of(reply)["explanations"]
    quality = explanation["quality"]
    assert {"deletion_blur", "insertion_mean", "road", "infidelity", "sparseness", "top_share"} < set(quality)
    assert 0 < quality["deletion_blur"]["value"] < 1
    assert quality["sparseness"]["value"] != quality["sparseness"]["random"]
    assert quality["completeness_gap"] == {"value": None, "random": None}
    assert (quality["forwards"], quality["backwards"]) == (164, 4)


def test_eight_requests_of_one_batch_are_answered_as_each_by_itself(server: TorchServe) -> None:
    requests = [
        Request({"target": "zebra"}, data=photo(1)),
        Request({"method": "grad_cam", "target": "tabby"}, data=photo(2)),
        Request(data=photo(3)[:1500]),
        Request({"method": "guided_backprop", "target": "22", "against": "runner_up"}, data=photo(4)),
        Request({"method": "integrated_gradients", "steps": "8", "format": "npy"}, data=photo(5)),
        Request(data=b"not a picture"),
        Request(data=photo(6), path="/predictions/sq/2.0"),
        Request({"target": "toucan;goose", "reduce": "sum", "render": "overlay"}, data=photo(7)),
    ]
    replies = send_as_batch(server, requests)
    assert [reply.status for reply in replies] == [200, 200, 415, 200, 200, 415, 200, 200]
    for request, reply in zip(requests, replies, strict=True):
        assert_same(reply, send(server, request))


def test_forged_headers_do_not_change_the_route(server: TorchServe) -> None:
    forged = {"explain": "True", "Explain": "True", "describe": "True", "url_path": "target=9999"}
    reply = send(server, Request(path="/predictions/sq", headers=forged))
    assert reply.status == 200
    assert len(json_of(reply)) == 5


def test_without_a_valid_token_there_is_no_answer(server: TorchServe) -> None:
    body, content_type = form([Part("data", photo(), "picture.jpg")])
    for token in (None, "wrong"):
        reply = transport.send(server.url + "/explanations/sq", "POST", body, {"Content-Type": content_type}, token)
        assert reply.status in (400, 401)
        assert b"saliency" not in reply.body

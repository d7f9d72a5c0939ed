"""Answers have the requested format, and are errors if they are too large or not finite."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from tests.answers import DATA, FINITE, LIMIT, OWL, json_of, make_explanation
from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.responses.encoding import (
    HEADER_BYTES,
    classes_body,
    encode,
    error_response,
    json_response,
)
from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.image_grid import concatenate
from torchserve_saliency.responses.rendering import draw


@pytest.mark.parametrize("space", ["input", "original"])
def test_png_is_the_pictures_of_all_targets_side_by_side(space: str) -> None:
    shape = (24, 32) if space == "original" else (16, 16)
    maps = [np.random.default_rng(seed).normal(size=shape).astype(np.float32) for seed in range(3)]
    response = encode(make_explanation(*maps, view=View(space=space), form="png"), LIMIT)
    assert (response.content_type, response.status, response.headers) == ("image/png", 200, {})
    inside = (4, 0, 28, 24) if space == "original" else None
    picture = np.zeros((*shape, 3), np.uint8)
    expected = concatenate([draw(one, picture, View(space=space), inside) for one in maps])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.body))), np.asarray(expected))


def test_png_of_render_none_is_an_error() -> None:
    with pytest.raises(RequestError) as caught:
        encode(make_explanation(view=View(render="none"), form="png"), LIMIT)
    assert (caught.value.status, caught.value.option) == (400, "render")


@settings(deadline=None)
@given(arrays(np.float32, st.sampled_from([(2, 3, 5), (3, 2, 4, 2)]), elements=FINITE))
def test_npy_is_exact(maps: NDArray[np.float32]) -> None:
    response = encode(make_explanation(*maps, form="npy"), LIMIT)
    assert response.content_type == "application/x-npy"
    assert response.body[:8] == b"\x93NUMPY\x01\x00"
    loaded = np.load(io.BytesIO(response.body), allow_pickle=False)
    assert loaded.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(loaded.view(np.uint32), maps.view(np.uint32))


@pytest.mark.parametrize("render", ["heatmap", "overlay", "none"])
def test_the_header_of_npy_is_the_json_without_its_pictures(render: str) -> None:
    explanation = make_explanation(view=View(render=render), form="npy")
    header = encode(explanation, LIMIT).headers["Saliency-Metadata"]
    assert header.isascii()
    assert header.isprintable(), "the header contains no line break"
    body = json_of(encode(replace(explanation, format="json"), LIMIT))
    for entry in body["explanations"]:
        entry.pop("saliency", None)
        entry.pop("image", None)
    assert json.loads(header) == body


def test_a_header_that_is_too_large_is_an_error() -> None:
    label = "x" * 150
    predictions = tuple(replace(OWL, label=label) for _ in range(100))
    with pytest.raises(RequestError, match=r"top_k, now 100.*target, now 1") as caught:
        encode(make_explanation(form="npy", predictions=predictions), LIMIT)
    assert (caught.value.status, caught.value.option) == (413, "top_k")


def test_a_header_of_a_hundred_predictions_fits() -> None:
    predictions = tuple(replace(OWL, logit=1 / 3, probability=1 / 3) for _ in range(100))
    header = encode(make_explanation(form="npy", predictions=predictions), LIMIT).headers["Saliency-Metadata"]
    assert len(header) <= HEADER_BYTES


@pytest.mark.parametrize("form", ["json", "png", "npy"])
def test_a_body_may_have_exactly_the_limit(form: str) -> None:
    explanation = make_explanation(form=form)
    response = encode(explanation, LIMIT)
    assert encode(explanation, len(response.body)) == response
    with pytest.raises(RequestError) as caught:
        encode(explanation, len(response.body) - 1)
    assert (caught.value.status, caught.value.kind) == (413, "ResponseTooLargeException")
    assert f"{len(response.body) - 1:,}" in caught.value.message


@pytest.mark.parametrize(
    ("form", "view", "maps", "advice"),
    [
        ("json", View(render="overlay"), 1, "ask for format jpeg or webp or render heatmap or render none"),
        ("json", View(), 1, "ask for format jpeg or webp or render none"),
        ("json", View(), 2, "ask for format jpeg or webp or fewer targets or render none"),
        ("json", View(render="none"), 1, "ask for a smaller top_k"),
        ("npy", View(space="original"), 1, "ask for space input or format json"),
        ("png", View(), 3, "ask for format jpeg or webp or fewer targets or format json"),
    ],
)
def test_an_answer_that_is_too_large_is_an_error_with_advice(form: str, view: View, maps: int, advice: str) -> None:
    shape = (24, 32) if view.space == "original" else (16, 16)
    explanation = make_explanation(*[np.ones(shape, np.float32)] * maps, view=view, form=form)
    with pytest.raises(RequestError, match=advice + "$"):
        encode(explanation, 50)


def test_no_more_targets_are_drawn_after_the_limit_is_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []

    def counted(*given: Any) -> Image.Image:
        drawn.append(given)
        return draw(*given)

    monkeypatch.setattr("torchserve_saliency.responses.drawing.draw", counted)
    explanation = make_explanation(*[np.eye(16, dtype=np.float32)] * 9, view=View(render="overlay"))
    with pytest.raises(RequestError):
        encode(explanation, 10)
    assert len(drawn) == 1


def test_the_default_answer_with_a_noisy_map_is_small() -> None:
    grain = np.random.default_rng(0).exponential(size=(224, 224)).astype(np.float32)
    assert len(encode(make_explanation(grain), LIMIT).body) < 60_000


def test_the_default_answer_for_a_real_network_is_small() -> None:
    weights, photo = DATA / "weights" / "squeezenet1_1.pt", DATA / "photos" / "great_grey_owl.jpg"
    if not (weights.exists() and photo.exists()):
        pytest.skip("../shared/data, with the weights of SqueezeNet and the photographs, is missing")
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(torch.load(weights, weights_only=True))
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224)), np.float32)
    x = ((torch.tensor(pixels).permute(2, 0, 1) - 120) / 58)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(network.eval()(x).max(), x)
    assert len(encode(make_explanation(gradient[0].abs().amax(0).numpy()), LIMIT).body) < 60_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("form", "render"), [("json", "heatmap"), ("json", "overlay"), ("png", "overlay"), ("npy", "heatmap")]
)
def test_a_map_that_is_not_finite_is_an_internal_error(form: str, render: str, value: float) -> None:
    saliency = np.ones((16, 16), np.float32)
    saliency[3, 4] = value
    with pytest.raises(RequestError, match=r"saliency .* not finite") as caught:
        encode(make_explanation(saliency, view=View(render=render), form=form), LIMIT)
    assert (caught.value.status, caught.value.kind) == (500, "NonFiniteException")


@pytest.mark.parametrize("form", ["json", "npy"])
def test_a_number_that_is_not_finite_is_an_internal_error(form: str) -> None:
    with pytest.raises(RequestError) as caught:
        encode(make_explanation(form=form, predictions=(replace(OWL, logit=float("inf")),)), LIMIT)
    assert (caught.value.status, caught.value.kind) == (500, "NonFiniteException")


def test_an_error_is_encoded_as_its_error_object() -> None:
    response = error_response(bad_option("target", "no class is named 'Krähe'"))
    assert response.status == 400
    assert json_of(response) == {
        "code": 400,
        "type": "BadOptionException",
        "message": "no class is named 'Krähe'",
        "option": "target",
    }


def test_predictions_are_encoded_as_image_classifier_does() -> None:
    response = json_response(classes_body([("tabby", 0.5), ("crane (517)", 0.25)]))
    assert (response.body, response.status) == (b'{"tabby":0.5,"crane (517)":0.25}', 200)

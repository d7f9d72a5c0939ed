"""Answers hold what the contract says, and are refused where they cannot."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from saliency.body import explanation_body
from saliency.errors import RequestError, bad_option
from saliency.explanation import Explanation, Prediction, TargetMap, View
from saliency.image import InputSpec, Picture, project
from saliency.render import KINDS, beside, draw
from saliency.response import (
    HEADER_BYTES,
    Response,
    classes_body,
    encode,
    error_response,
    json_response,
)

LIMIT = 6_553_500
CROP = (4.0, 0.0, 28.123456, 24.0)
OWL = Prediction(24, "great grey owl", 0.981, 14.2)
CRANE = Prediction(517, "Krähe\n\ud800 (517)", 0.01, 3.25)
DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def _picture(size: int = 16, channels: int = 3) -> Picture:
    """Return a picture of 32×24 pixels with a crop of `size` pixels."""
    random = np.random.default_rng(0)
    original = Image.fromarray(random.integers(60, 200, (24, 32, 3), dtype=np.uint8))
    pixels = random.integers(60, 200, (size, size, channels), dtype=np.uint8)
    return Picture(original, pixels, CROP, InputSpec(size=(size, size)))


def _explained(*maps: NDArray[np.float32], view: View | None = None, form: str = "json", **other: Any) -> Explanation:
    """Return an explanation of these maps, float32 [16, 16] each where none are given."""
    targets = maps or (np.random.default_rng(1).exponential(size=(16, 16)).astype(np.float32),)
    explanation = Explanation(
        model="resnet18",
        version="1.0",
        predictions=(OWL, CRANE),
        maps=tuple(TargetMap(OWL, None, one) for one in targets),
        method="gradient",
        parameters={"score": "logit", "reduce": "max_abs", "seed": None, "steps": 3},
        picture=_picture(),
        view=view or View(),
        format=form,
    )
    return replace(explanation, **other)


def _said(response: Response) -> dict[str, Any]:
    """Return the value of a JSON response, strictly read."""
    assert response.content_type == "application/json"
    value = json.loads(response.body.decode("ascii"), parse_constant=pytest.fail)
    assert isinstance(value, dict)
    return value


def _picture_in(data: str) -> Image.Image:
    """Return a base64 picture."""
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def _decoded(saliency: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return a sent map as the contract decodes it."""
    image = _picture_in(saliency["data"])
    assert (image.format, image.mode) == ("PNG", "L")
    pixels = np.asarray(image, np.float64).reshape(saliency["shape"])
    return np.asarray(saliency["min"] + pixels / 255 * (saliency["max"] - saliency["min"]))


# --- JSON ---


def test_the_body_is_the_contracts() -> None:
    body = _said(encode(_explained(), LIMIT))
    saliency = body["explanations"][0].pop("saliency")
    assert saliency.pop("data")
    assert set(saliency) == {"encoding", "dtype", "shape", "min", "max"}
    owl = {"index": 24, "label": "great grey owl", "probability": 0.981, "logit": 14.2}
    crane = {"index": 517, "label": "Krähe\n\ud800 (517)", "probability": 0.01, "logit": 3.25}
    assert body == {
        "model": {"name": "resnet18", "version": "1.0"},
        "predictions": [owl, crane],
        "explanations": [
            {
                "target": owl,
                "against": None,
                "method": "gradient",
                "parameters": {"score": "logit", "reduce": "max_abs", "seed": None, "steps": 3},
                "quality": None,
            }
        ],
        "input": {"width": 32, "height": 24, "crop": [4.0, 0.0, 28.1235, 24.0]},
    }


@pytest.mark.parametrize("render", ["heatmap", "overlay", "none"])
def test_pictures_set_into_the_answer_leave_it_the_json_that_it_is(render: str) -> None:
    odd = replace(OWL, label='"data":"@"')  # what stands for a picture until it is set in
    noise = np.random.default_rng(2).normal(size=(3, 16, 16)).astype(np.float32)
    explanation = _explained(*noise, view=View(render), predictions=(odd, CRANE), model='@","data":"@"')
    assert encode(explanation, LIMIT).body == json_response(explanation_body(explanation, LIMIT)).body


def test_a_contrast_and_findings_are_in_their_entry() -> None:
    saliency = np.zeros((16, 16), np.float32)
    maps = (TargetMap(OWL, CRANE, saliency, {"completeness_gap": 0.25}), TargetMap(CRANE, None, saliency))
    first, second = _said(encode(_explained(maps=maps), LIMIT))["explanations"]
    assert first["against"]["index"] == 517
    assert first["completeness_gap"] == 0.25
    assert second["target"]["index"] == 517
    assert "completeness_gap" not in second


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(arrays(np.float32, st.sampled_from([(1, 1), (3, 5), (3, 4, 2), (1, 2, 3), (7, 2, 2)]), elements=FINITE))
def test_any_finite_map_comes_back_within_half_a_step(saliency: NDArray[np.float32]) -> None:
    with np.errstate(all="raise", under="ignore"):
        said = _said(encode(_explained(saliency), LIMIT))["explanations"][0]["saliency"]
    assert said["shape"] == list(saliency.shape)
    assert (said["min"], said["max"]) == (float(saliency.min()), float(saliency.max()))
    half = (said["max"] - said["min"]) / 255 / 2
    assert np.abs(_decoded(said) - saliency).max() <= half * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-45, 3e38])
def test_a_constant_map_comes_back_exactly(value: float) -> None:
    saliency = np.full((4, 6), value, np.float32)
    said = _said(encode(_explained(saliency), LIMIT))["explanations"][0]["saliency"]
    np.testing.assert_array_equal(_decoded(said).astype(np.float32), saliency)


def test_channels_are_stacked_as_rows() -> None:
    saliency = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    said = _said(encode(_explained(saliency), LIMIT))["explanations"][0]["saliency"]
    assert said["shape"] == [3, 4, 5]
    assert _picture_in(said["data"]).size == (5, 12)


@pytest.mark.parametrize("render", [kind for kind in KINDS if kind != "heatmap"])
def test_a_rendering_is_sent_beside_the_map(render: str) -> None:
    explanation = _explained(view=View(render=render))
    entry = _said(encode(explanation, LIMIT))["explanations"][0]
    image = _picture_in(entry["image"].pop("data"))
    width = 48 if render == "side_by_side" else 16
    view = {"colormap": None, "alpha": 0.6, "clip": 99.5, "floor": 0.0}
    assert entry["image"] == {"encoding": "png", "render": render, "space": "input", "shape": [16, width], **view}
    expected = draw(explanation.maps[0].saliency, explanation.picture.pixels, explanation.view, None)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    assert list(entry).index("image") == list(entry).index("saliency") + 1


def test_the_default_answer_has_the_map_alone() -> None:
    assert "image" not in _said(encode(_explained(), LIMIT))["explanations"][0]


def test_without_a_rendering_there_is_neither_map_nor_image() -> None:
    entry = _said(encode(_explained(view=View(render="none")), LIMIT))["explanations"][0]
    assert set(entry) == {"target", "against", "method", "parameters", "quality"}


def test_the_original_space_is_the_whole_picture() -> None:
    inner = np.random.default_rng(0).exponential(size=(16, 16)).astype(np.float32)
    saliency = project(inner, CROP, 32, 24)
    explanation = _explained(saliency, view=View(render="contours", space="original", colormap="gray"))
    image = _said(encode(explanation, LIMIT))["explanations"][0]["image"]
    assert (image["space"], image["shape"]) == ("original", [24, 32])
    drawn, original = np.asarray(_picture_in(image["data"])), np.asarray(explanation.picture.original)
    np.testing.assert_array_equal(drawn[:, :4], original[:, :4])
    np.testing.assert_array_equal(drawn[:, 28:], original[:, 28:])
    assert (drawn[:, 4:28] != original[:, 4:28]).any()


def test_a_grey_networks_picture_is_drawn_in_grey() -> None:
    explanation = _explained(np.zeros((16, 16), np.float32), picture=_picture(channels=1), view=View(render="contours"))
    image = _picture_in(_said(encode(explanation, LIMIT))["explanations"][0]["image"]["data"])
    np.testing.assert_array_equal(np.asarray(image), np.repeat(explanation.picture.pixels, 3, axis=2))


# --- PNG ---


@pytest.mark.parametrize("space", ["input", "original"])
def test_png_is_every_targets_picture_side_by_side(space: str) -> None:
    shape = (24, 32) if space == "original" else (16, 16)
    maps = [np.random.default_rng(seed).normal(size=shape).astype(np.float32) for seed in range(3)]
    response = encode(_explained(*maps, view=View(space=space), form="png"), LIMIT)
    assert (response.content_type, response.status, response.headers) == ("image/png", 200, {})
    inside = (4, 0, 28, 24) if space == "original" else None
    picture = np.zeros((*shape, 3), np.uint8)
    expected = beside([draw(one, picture, View(space=space), inside) for one in maps])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.body))), np.asarray(expected))


def test_png_of_no_rendering_is_refused() -> None:
    with pytest.raises(RequestError) as refusal:
        encode(_explained(view=View(render="none"), form="png"), LIMIT)
    assert (refusal.value.status, refusal.value.option) == (400, "render")


# --- NPY ---


@settings(deadline=None)
@given(arrays(np.float32, st.sampled_from([(2, 3, 5), (3, 2, 4, 2)]), elements=FINITE))
def test_npy_is_exact(maps: NDArray[np.float32]) -> None:
    response = encode(_explained(*maps, form="npy"), LIMIT)
    assert response.content_type == "application/x-npy"
    assert response.body[:8] == b"\x93NUMPY\x01\x00"
    loaded = np.load(io.BytesIO(response.body), allow_pickle=False)
    assert loaded.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(loaded.view(np.uint32), maps.view(np.uint32))


@pytest.mark.parametrize("render", ["heatmap", "overlay", "none"])
def test_npys_header_is_the_json_without_its_pictures(render: str) -> None:
    explanation = _explained(view=View(render=render), form="npy")
    header = encode(explanation, LIMIT).headers["Saliency-Metadata"]
    assert header.isascii()
    assert header.isprintable(), "no line break can end the header"
    body = _said(encode(replace(explanation, format="json"), LIMIT))
    for entry in body["explanations"]:
        entry.pop("saliency", None)
        entry.pop("image", None)
    assert json.loads(header) == body


def test_a_header_that_is_too_large_is_refused() -> None:
    label = "x" * 150
    predictions = tuple(replace(OWL, label=label) for _ in range(100))
    with pytest.raises(RequestError, match=r"top_k, now 100.*target, now 1") as refusal:
        encode(_explained(form="npy", predictions=predictions), LIMIT)
    assert (refusal.value.status, refusal.value.option) == (413, "top_k")


def test_a_header_of_a_hundred_predictions_fits() -> None:
    predictions = tuple(replace(OWL, logit=1 / 3, probability=1 / 3) for _ in range(100))
    header = encode(_explained(form="npy", predictions=predictions), LIMIT).headers["Saliency-Metadata"]
    assert len(header) <= HEADER_BYTES


# --- Limits ---


@pytest.mark.parametrize("form", ["json", "png", "npy"])
def test_a_body_may_have_exactly_the_limit(form: str) -> None:
    explanation = _explained(form=form)
    response = encode(explanation, LIMIT)
    assert encode(explanation, len(response.body)) == response
    with pytest.raises(RequestError) as refusal:
        encode(explanation, len(response.body) - 1)
    assert (refusal.value.status, refusal.value.kind) == (413, "ResponseTooLargeException")
    assert f"{len(response.body) - 1:,}" in refusal.value.message


@pytest.mark.parametrize(
    ("form", "view", "maps", "advice"),
    [
        ("json", View(render="overlay"), 1, "ask for render heatmap or render none"),
        ("json", View(), 1, "ask for render none"),
        ("json", View(), 2, "ask for fewer targets or render none"),
        ("json", View(render="none"), 1, "ask for a smaller top_k"),
        ("npy", View(space="original"), 1, "ask for space input or format json"),
        ("png", View(), 3, "ask for fewer targets or format json"),
    ],
)
def test_what_is_too_large_is_told_what_to_ask_for(form: str, view: View, maps: int, advice: str) -> None:
    shape = (24, 32) if view.space == "original" else (16, 16)
    explanation = _explained(*[np.ones(shape, np.float32)] * maps, view=view, form=form)
    with pytest.raises(RequestError, match=advice + "$"):
        encode(explanation, 50)


def test_no_further_target_is_drawn_once_the_limit_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []

    def counted(*given: Any) -> Image.Image:
        drawn.append(given)
        return draw(*given)

    monkeypatch.setattr("saliency.body.draw", counted)
    explanation = _explained(*[np.eye(16, dtype=np.float32)] * 9, view=View(render="overlay"))
    with pytest.raises(RequestError):
        explanation_body(explanation, 10)
    assert len(drawn) == 1


def test_the_default_answer_to_a_grainy_map_is_small() -> None:
    grain = np.random.default_rng(0).exponential(size=(224, 224)).astype(np.float32)
    assert len(encode(_explained(grain), LIMIT).body) < 60_000


def test_the_default_answer_for_a_real_network_is_small() -> None:
    weights, photo = DATA / "weights" / "squeezenet1_1.pt", DATA / "photos" / "great_grey_owl.jpg"
    if not (weights.exists() and photo.exists()):
        pytest.skip("../shared/data, with SqueezeNet's weights and the photographs, is not here")
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(torch.load(weights, weights_only=True))
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224)), np.float32)
    x = ((torch.tensor(pixels).permute(2, 0, 1) - 120) / 58)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(network.eval()(x).max(), x)
    assert len(encode(_explained(gradient[0].abs().amax(0).numpy()), LIMIT).body) < 60_000


# --- What is not finite ---


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("form", "render"), [("json", "heatmap"), ("json", "overlay"), ("png", "overlay"), ("npy", "heatmap")]
)
def test_a_map_that_is_not_finite_is_a_defect(form: str, render: str, value: float) -> None:
    saliency = np.ones((16, 16), np.float32)
    saliency[3, 4] = value
    with pytest.raises(RequestError, match=r"saliency .* not finite") as refusal:
        encode(_explained(saliency, view=View(render=render), form=form), LIMIT)
    assert (refusal.value.status, refusal.value.kind) == (500, "NonFiniteException")


@pytest.mark.parametrize("form", ["json", "npy"])
def test_a_number_that_is_not_finite_is_a_defect(form: str) -> None:
    with pytest.raises(RequestError) as refusal:
        encode(_explained(form=form, predictions=(replace(OWL, logit=float("inf")),)), LIMIT)
    assert (refusal.value.status, refusal.value.kind) == (500, "NonFiniteException")


# --- Other answers ---


def test_an_error_is_its_error_object() -> None:
    response = error_response(bad_option("target", "no class is named 'Krähe'"))
    assert response.status == 400
    assert _said(response) == {
        "code": 400,
        "type": "BadOptionException",
        "message": "no class is named 'Krähe'",
        "option": "target",
    }


def test_predictions_are_answered_as_image_classifier_does() -> None:
    response = json_response(classes_body([("tabby", 0.5), ("crane (517)", 0.25)]))
    assert (response.body, response.status) == (b'{"tabby":0.5,"crane (517)":0.25}', 200)

"""The body of a JSON answer has the fields of the contract, and the requested pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests.answers import CRANE, CROP, FINITE, LIMIT, OWL, decoded, json_of, make_explanation, picture_in, small_picture
from torchserve_saliency.images.preprocessing import project
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import TargetMap, View
from torchserve_saliency.responses.rendering import RENDERERS, draw

PICTURES = ("saliency", "image")


def test_the_body_is_that_of_the_contract() -> None:
    body = json_of(encode(make_explanation(), LIMIT))
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
def test_the_body_is_exactly_the_compact_json_of_its_value(render: str) -> None:
    odd = replace(OWL, label='"data":"@"}]')
    noise = np.random.default_rng(2).normal(size=(3, 16, 16)).astype(np.float32)
    explanation = make_explanation(*noise, view=View(render), predictions=(odd, CRANE), model='@","data":"@"')
    body = encode(explanation, LIMIT).body
    value = json.loads(body)
    assert body == json.dumps(value, separators=(",", ":")).encode("ascii")
    assert (value["model"]["name"], value["predictions"][0]["label"]) == ('@","data":"@"', '"data":"@"}]')
    pictures = [one[name]["data"] for one in value["explanations"] for name in PICTURES if name in one]
    assert len(pictures) == {"heatmap": 3, "overlay": 6, "none": 0}[render]
    assert all(picture_in(data).size == (16, 16) for data in pictures)


def test_an_entry_has_its_against_and_its_findings() -> None:
    saliency = np.zeros((16, 16), np.float32)
    maps = (TargetMap(OWL, CRANE, saliency, {"completeness_gap": 0.25}), TargetMap(CRANE, None, saliency))
    first, second = json_of(encode(make_explanation(maps=maps), LIMIT))["explanations"]
    assert first["against"]["index"] == 517
    assert first["completeness_gap"] == 0.25
    assert second["target"]["index"] == 517
    assert "completeness_gap" not in second


@settings(deadline=None)
@given(arrays(np.float32, st.sampled_from([(1, 1), (3, 5), (3, 4, 2), (1, 2, 3), (7, 2, 2)]), elements=FINITE))
def test_any_finite_map_is_decoded_within_half_a_level(saliency: NDArray[np.float32]) -> None:
    with np.errstate(all="raise", under="ignore"):
        sent = json_of(encode(make_explanation(saliency), LIMIT))["explanations"][0]["saliency"]
    assert sent["shape"] == list(saliency.shape)
    assert (sent["min"], sent["max"]) == (float(saliency.min()), float(saliency.max()))
    half = (sent["max"] - sent["min"]) / 255 / 2
    assert np.abs(decoded(sent) - saliency).max() <= half * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-45, 3e38])
def test_a_constant_map_is_decoded_exactly(value: float) -> None:
    saliency = np.full((4, 6), value, np.float32)
    sent = json_of(encode(make_explanation(saliency), LIMIT))["explanations"][0]["saliency"]
    np.testing.assert_array_equal(decoded(sent).astype(np.float32), saliency)


def test_channels_are_stacked_as_rows() -> None:
    saliency = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    sent = json_of(encode(make_explanation(saliency), LIMIT))["explanations"][0]["saliency"]
    assert sent["shape"] == [3, 4, 5]
    assert picture_in(sent["data"]).size == (5, 12)


@pytest.mark.parametrize("render", [name for name in RENDERERS if name != "heatmap"])
def test_the_drawn_image_follows_the_saliency(render: str) -> None:
    explanation = make_explanation(view=View(render=render))
    entry = json_of(encode(explanation, LIMIT))["explanations"][0]
    image = picture_in(entry["image"].pop("data"))
    width = 48 if render == "side_by_side" else 16
    view = {"colormap": None, "alpha": 0.6, "clip": 99.5, "floor": 0.0, "backdrop": "grey", "caption": False}
    assert entry["image"] == {"encoding": "png", "render": render, "space": "input", "shape": [16, width], **view}
    expected = draw(explanation.maps[0].saliency, explanation.picture.pixels, explanation.view, None)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    assert list(entry).index("image") == list(entry).index("saliency") + 1


def test_the_default_answer_has_no_drawn_image() -> None:
    assert "image" not in json_of(encode(make_explanation(), LIMIT))["explanations"][0]


def test_render_none_leaves_out_saliency_and_image() -> None:
    entry = json_of(encode(make_explanation(view=View(render="none")), LIMIT))["explanations"][0]
    assert set(entry) == {"target", "against", "method", "parameters", "quality"}


def test_the_original_space_is_the_whole_picture() -> None:
    inner = np.random.default_rng(0).exponential(size=(16, 16)).astype(np.float32)
    saliency = project(inner, CROP, 32, 24)
    explanation = make_explanation(saliency, view=View(render="contours", space="original", colormap="gray"))
    image = json_of(encode(explanation, LIMIT))["explanations"][0]["image"]
    assert (image["space"], image["shape"]) == ("original", [24, 32])
    drawn, original = np.asarray(picture_in(image["data"])), np.asarray(explanation.picture.original)
    np.testing.assert_array_equal(drawn[:, :4], original[:, :4])
    np.testing.assert_array_equal(drawn[:, 28:], original[:, 28:])
    assert (drawn[:, 4:28] != original[:, 4:28]).any()


def test_a_grey_networks_picture_is_drawn_in_grey() -> None:
    explanation = make_explanation(
        np.zeros((16, 16), np.float32), picture=small_picture(channels=1), view=View(render="contours")
    )
    image = picture_in(json_of(encode(explanation, LIMIT))["explanations"][0]["image"]["data"])
    np.testing.assert_array_equal(np.asarray(image), np.repeat(explanation.picture.pixels, 3, axis=2))

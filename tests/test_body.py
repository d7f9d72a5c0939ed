"""The body of a JSON answer holds what the contract says: every value, and the pictures that are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from saliency.body import explanation_body
from saliency.explanation import TargetMap, View
from saliency.image import project
from saliency.render import KINDS, draw
from saliency.response import (
    encode,
    json_response,
)
from tests.answers import CRANE, CROP, FINITE, LIMIT, OWL, decoded, explained, picture_in, said_by, small_picture


def test_the_body_is_the_contracts() -> None:
    body = said_by(encode(explained(), LIMIT))
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
    explanation = explained(*noise, view=View(render), predictions=(odd, CRANE), model='@","data":"@"')
    assert encode(explanation, LIMIT).body == json_response(explanation_body(explanation, LIMIT)).body


def test_a_contrast_and_findings_are_in_their_entry() -> None:
    saliency = np.zeros((16, 16), np.float32)
    maps = (TargetMap(OWL, CRANE, saliency, {"completeness_gap": 0.25}), TargetMap(CRANE, None, saliency))
    first, second = said_by(encode(explained(maps=maps), LIMIT))["explanations"]
    assert first["against"]["index"] == 517
    assert first["completeness_gap"] == 0.25
    assert second["target"]["index"] == 517
    assert "completeness_gap" not in second


@settings(deadline=None)
@given(arrays(np.float32, st.sampled_from([(1, 1), (3, 5), (3, 4, 2), (1, 2, 3), (7, 2, 2)]), elements=FINITE))
def test_any_finite_map_comes_back_within_half_a_step(saliency: NDArray[np.float32]) -> None:
    with np.errstate(all="raise", under="ignore"):
        said = said_by(encode(explained(saliency), LIMIT))["explanations"][0]["saliency"]
    assert said["shape"] == list(saliency.shape)
    assert (said["min"], said["max"]) == (float(saliency.min()), float(saliency.max()))
    half = (said["max"] - said["min"]) / 255 / 2
    assert np.abs(decoded(said) - saliency).max() <= half * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-45, 3e38])
def test_a_constant_map_comes_back_exactly(value: float) -> None:
    saliency = np.full((4, 6), value, np.float32)
    said = said_by(encode(explained(saliency), LIMIT))["explanations"][0]["saliency"]
    np.testing.assert_array_equal(decoded(said).astype(np.float32), saliency)


def test_channels_are_stacked_as_rows() -> None:
    saliency = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    said = said_by(encode(explained(saliency), LIMIT))["explanations"][0]["saliency"]
    assert said["shape"] == [3, 4, 5]
    assert picture_in(said["data"]).size == (5, 12)


@pytest.mark.parametrize("render", [kind for kind in KINDS if kind != "heatmap"])
def test_a_rendering_is_sent_beside_the_map(render: str) -> None:
    explanation = explained(view=View(render=render))
    entry = said_by(encode(explanation, LIMIT))["explanations"][0]
    image = picture_in(entry["image"].pop("data"))
    width = 48 if render == "side_by_side" else 16
    view = {"colormap": None, "alpha": 0.6, "clip": 99.5, "floor": 0.0}
    assert entry["image"] == {"encoding": "png", "render": render, "space": "input", "shape": [16, width], **view}
    expected = draw(explanation.maps[0].saliency, explanation.picture.pixels, explanation.view, None)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    assert list(entry).index("image") == list(entry).index("saliency") + 1


def test_the_default_answer_has_the_map_alone() -> None:
    assert "image" not in said_by(encode(explained(), LIMIT))["explanations"][0]


def test_without_a_rendering_there_is_neither_map_nor_image() -> None:
    entry = said_by(encode(explained(view=View(render="none")), LIMIT))["explanations"][0]
    assert set(entry) == {"target", "against", "method", "parameters", "quality"}


def test_the_original_space_is_the_whole_picture() -> None:
    inner = np.random.default_rng(0).exponential(size=(16, 16)).astype(np.float32)
    saliency = project(inner, CROP, 32, 24)
    explanation = explained(saliency, view=View(render="contours", space="original", colormap="gray"))
    image = said_by(encode(explanation, LIMIT))["explanations"][0]["image"]
    assert (image["space"], image["shape"]) == ("original", [24, 32])
    drawn, original = np.asarray(picture_in(image["data"])), np.asarray(explanation.picture.original)
    np.testing.assert_array_equal(drawn[:, :4], original[:, :4])
    np.testing.assert_array_equal(drawn[:, 28:], original[:, 28:])
    assert (drawn[:, 4:28] != original[:, 4:28]).any()


def test_a_grey_networks_picture_is_drawn_in_grey() -> None:
    explanation = explained(
        np.zeros((16, 16), np.float32), picture=small_picture(channels=1), view=View(render="contours")
    )
    image = picture_in(said_by(encode(explanation, LIMIT))["explanations"][0]["image"]["data"])
    np.testing.assert_array_equal(np.asarray(image), np.repeat(explanation.picture.pixels, 3, axis=2))

"""C12: networks whose input has 2 or 5 to 13 channels, asked by tensors of the Open Inference Protocol."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_handler import SaliencyHandler
from tests.archives import PLAIN, unpacked
from tests.kserving import EXPLAIN, PREDICT, alone, outputs, text, v2
from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.archiving.self_check import check

SIZE = 16


def archive(folder: Path, channels: int) -> Path:
    values = [0.5] * channels
    spec = {"size": [SIZE, SIZE], "resize": [SIZE], "mean": values, "std": [0.25] * channels}
    return unpacked(folder, PLAIN.replace("nn.Conv2d(3,", f"nn.Conv2d({channels},"), input=spec)


def serving(folder: Path, channels: int) -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer.load(archive(folder, channels))
    return handler


def inputs(channels: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(channels).normal(0, 1, (count, channels, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("channels", [2, 5, 13])
def test_tensors_are_explained(tmp_path: Path, channels: int) -> None:
    handler, x = serving(tmp_path, channels), inputs(channels)
    request = ("FP32", list(x.shape), x.ravel().tolist())
    explained, status = alone(handler, v2(EXPLAIN, *request, parameters={"reduce": "none", "target": 1}))
    assert status == 200
    network = handler.explainer.classifier.network
    rows = torch.from_numpy(x).requires_grad_()
    logits = network(rows)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), rows)
    np.testing.assert_allclose(outputs(explained)["saliency"][:, 0], gradient, rtol=1e-3, atol=1e-6)
    predicted, status = alone(handler, v2(PREDICT, *request))
    assert status == 200
    np.testing.assert_allclose(
        outputs(predicted)["probabilities"].astype(float).max(1), logits.softmax(1).max(1).values.detach(), rtol=1e-4
    )


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("render", ["overlay", "side_by_side", "masked", "contours"])
def test_maps_are_drawn_over_the_grey_mean(tmp_path: Path, channels: int, render: str) -> None:
    handler, x = serving(tmp_path, channels), inputs(channels, 1)
    row = v2(EXPLAIN, "FP32", list(x.shape), x.ravel().tolist(), parameters={"render": render})
    value, status = alone(handler, row)
    assert status == 200
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(outputs(value)["image"][0, 0]))).convert("RGB"))
    assert drawn.shape[0] >= SIZE
    if render == "side_by_side":
        levels = np.rint(np.clip((x[0] * 0.25 + 0.5) * 255, 0, 255)).mean(0)
        left = drawn[:SIZE, :SIZE].astype(int)
        assert (np.ptp(left, axis=2) == 0).all()
        assert np.abs(left[..., 0] - levels).max() <= 1


@pytest.mark.parametrize("channels", [2, 5])
def test_pictures_are_refused_with_the_reason(tmp_path: Path, channels: int) -> None:
    handler = serving(tmp_path, channels)
    rows = [
        v2(EXPLAIN, "BYTES", [1], [text(1)]),
        v2(EXPLAIN, "UINT8", [1, 4, 4, 3], [0] * 48),
        v2(EXPLAIN, "UINT8", [1, 4, 4, channels], [0] * (16 * channels)),
        (EXPLAIN, {"body": {"data": text(1)}}),
        (PREDICT, {"body": {"data": text(1)}}),
    ]
    for row in rows:
        value, status = alone(handler, row)
        assert (status, value["type"]) == (422, "NoPictureInputException")
        assert f"shape [N, {channels}, height, width]" in value["message"]


def test_channels_are_not_drawn_as_a_picture(tmp_path: Path) -> None:
    handler, x = serving(tmp_path, 5), inputs(5, 1)
    options = {"reduce": "none", "render": "overlay"}
    _, status = alone(handler, v2(EXPLAIN, "FP32", list(x.shape), x.ravel().tolist(), parameters=options))
    assert status == 400


@pytest.mark.parametrize("channels", [2, 13])
def test_the_self_check_uses_inputs_instead_of_pictures(tmp_path: Path, channels: int) -> None:
    """C12: such a network is archived."""
    figures = check(archive(tmp_path, channels))
    assert float(str(figures["float32_relative_error"])) < 1e-3

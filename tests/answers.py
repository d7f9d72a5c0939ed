"""Explanations to encode, and the decoding of answers."""

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
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.images.preprocessing import InputSpec, Picture
from torchserve_saliency.responses.encoding import Response
from torchserve_saliency.responses.explanation import Explanation, Prediction, TargetMap, View

LIMIT = 6_553_500
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
CROP = (4.0, 0.0, 28.123456, 24.0)
OWL = Prediction(24, "great grey owl", 0.981, 14.2)
CRANE = Prediction(517, "Krähe\n\ud800 (517)", 0.01, 3.25)
DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def small_picture(size: int = 16, channels: int = 3) -> Picture:
    """Return a picture of 32×24 pixels with a crop of `size` pixels."""
    random = np.random.default_rng(0)
    original = Image.fromarray(random.integers(60, 200, (24, 32, 3), dtype=np.uint8))
    pixels = random.integers(60, 200, (size, size, channels), dtype=np.uint8)
    return Picture(original, pixels, CROP, InputSpec(size=(size, size)))


def make_explanation(
    *maps: NDArray[np.float32], view: View | None = None, form: str = "json", **other: Any
) -> Explanation:
    """Return an explanation with these maps, or with one random map float32 [16, 16] if there are none."""
    targets = maps or (np.random.default_rng(1).exponential(size=(16, 16)).astype(np.float32),)
    explanation = Explanation(
        model="resnet18",
        version="1.0",
        predictions=(OWL, CRANE),
        maps=tuple(TargetMap(OWL, None, one) for one in targets),
        method="gradient",
        parameters={"score": "logit", "reduce": "max_abs", "seed": None, "steps": 3},
        picture=small_picture(),
        view=view or View(),
        format=form,
    )
    return replace(explanation, **other)


def json_of(response: Response) -> dict[str, Any]:
    """Return the value of a JSON response, in strict JSON."""
    assert response.content_type == "application/json"
    value = json.loads(response.body.decode("ascii"), parse_constant=pytest.fail)
    assert isinstance(value, dict)
    return value


def picture_in(data: str) -> Image.Image:
    """Return the picture in a base64 text."""
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def decoded(saliency: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the values of the field `saliency`, decoded as the contract says."""
    image = picture_in(saliency["data"])
    assert (image.format, image.mode) == ("PNG", "L")
    pixels = np.asarray(image, np.float64).reshape(saliency["shape"])
    return np.asarray(saliency["min"] + pixels / 255 * (saliency["max"] - saliency["min"]))

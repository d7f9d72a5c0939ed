"""Parts of an axis that Pillow resizes with the weights of the whole axis."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from torchserve_saliency.images.aligned_box import Part, aligned_part
from torchserve_saliency.images.geometry import Axis, centred

Resampling = Image.Resampling
FILTERS = (Resampling.BILINEAR, Resampling.HAMMING, Resampling.BICUBIC, Resampling.LANCZOS)


def part_of(axis: Axis, resample: Image.Resampling, mode: str = "RGB") -> Part | None:
    return aligned_part(axis, (axis.offset, axis.offset + axis.crop), resample, mode)


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize(
    ("length", "scaled", "start", "stop"),
    [(480, 384, 80, 304), (1920, 455, 91, 364), (2400, 455, 91, 364), (8660, 384, 78, 306), (6000, 348, 58, 290)],
)
def test_a_part_has_the_pixels_of_the_whole(
    length: int, scaled: int, start: int, stop: int, resample: Image.Resampling
) -> None:
    part = part_of(centred(length, scaled, 224), resample)
    assert part is not None
    assert part == (start, stop, start * length / scaled, stop * length / scaled)
    image = Image.fromarray(np.random.default_rng(length).integers(0, 256, (40, length, 3), np.uint8))
    whole = image.resize((scaled, 40), resample).crop((start, 0, stop, 40))
    assert image.resize((stop - start, 40), resample, (part[2], 0, part[3], 40)).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("length", "scaled", "crop"),
    [
        (4000, 341, 224),  # no part of 4:3 has ends in float32
        (640, 383, 224),
        (480, 256, 240),  # hardly smaller than the whole
        (500, 384, 224),  # too short for a comparison of the weights
    ],
)
def test_there_may_be_no_part(length: int, scaled: int, crop: int) -> None:
    assert part_of(centred(length, scaled, crop), Resampling.BILINEAR) is None


def test_filters_with_steps_and_unrounded_weights_have_no_part() -> None:
    assert part_of(centred(1920, 455, 224), Resampling.BOX) is None
    assert part_of(centred(1920, 455, 224), Resampling.BICUBIC, "F") is None
    assert part_of(centred(480, 384, 224), Resampling.BICUBIC, "F") is not None


def test_weights_near_the_middle_between_two_levels_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "torchserve_saliency.images.aligned_box"
    monkeypatch.setattr(f"{module}._weights", lambda axis, centres, pixels, resample: np.full(pixels.shape, 0.5))
    aligned_part.cache_clear()
    assert part_of(centred(1920, 455, 224), Resampling.BICUBIC) is None
    aligned_part.cache_clear()

"""C10: the longer side scaled, the rest padded; the crop and the maps, compared with an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from torchserve_saliency.images.preprocessing import InputSpec, prepare, project

SIZES = [(640, 427), (427, 640), (300, 300), (33, 500), (901, 32), (1, 7), (224, 223)]


def noise(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng((width, height)).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


def letterbox(fill: tuple[int, ...] = (0,), size: tuple[int, int] = (224, 224)) -> InputSpec:
    return InputSpec(size, size, fit="letterbox", fill=fill)


@pytest.mark.parametrize("fill", [(0,), (114,), (124, 116, 104)])
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_the_resized_picture_on_the_padding(size: tuple[int, int], fill: tuple[int, ...]) -> None:
    image = noise(*size)
    ratio = 224 / max(size)
    small = image.resize((max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)), Image.Resampling.BILINEAR)
    wanted = Image.new("RGB", (224, 224), fill * 3 if len(fill) == 1 else fill)
    wanted.paste(small, ((224 - small.width) // 2, (224 - small.height) // 2))
    np.testing.assert_array_equal(prepare(image, letterbox(fill)).pixels, np.asarray(wanted))


def test_a_rectangle_is_filled_like_pillows_pad() -> None:
    image = noise(500, 200)
    padded = ImageOps.pad(image, (200, 120), Image.Resampling.BILINEAR, color=(7, 7, 7))
    np.testing.assert_array_equal(prepare(image, letterbox((7,), (120, 200))).pixels, np.asarray(padded))


@pytest.mark.parametrize("size", SIZES)
def test_the_crop_extends_beyond_the_picture(size: tuple[int, int]) -> None:
    left, top, right, bottom = prepare(noise(*size), letterbox()).crop
    ratio = 224 / max(size)
    scaled = [max(round(side * ratio), 1) for side in size]
    before = [(224 - side) // 2 for side in scaled]
    for start, stop, side, small, pad in zip((left, top), (right, bottom), size, scaled, before, strict=True):
        assert start == pytest.approx(-pad * side / small)
        assert stop == pytest.approx((224 - pad) * side / small)
    assert max(left, top) <= 0
    assert right >= size[0]
    assert bottom >= size[1]


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (150, 60)])
@pytest.mark.parametrize("place", [(0.2, 0.3), (0.5, 0.5), (0.9, 0.75)])
def test_a_spot_is_projected_to_its_position_in_the_original(size: tuple[int, int], place: tuple[float, float]) -> None:
    x, y = int(place[0] * size[0]), int(place[1] * size[1])
    image = Image.new("L", size)
    image.paste(255, (x - 3, y - 3, x + 4, y + 4))
    picture = prepare(image.convert("RGB"), letterbox())
    projected = project(picture.pixels.mean(-1, dtype=np.float32), picture.crop, *size)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    total = projected.sum(dtype=np.float64)
    assert projected.shape == (size[1], size[0])
    assert (columns * projected).sum(dtype=np.float64) / total == pytest.approx(x, abs=1)
    assert (rows * projected).sum(dtype=np.float64) / total == pytest.approx(y, abs=1)


def test_a_constant_map_is_projected_over_the_whole_picture() -> None:
    picture = prepare(noise(640, 427), letterbox())
    projected = project(np.ones((224, 224), np.float32), picture.crop, 640, 427)
    np.testing.assert_allclose(projected, 1, rtol=1e-6)

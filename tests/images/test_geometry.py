"""Crops in pixels of the picture, and maps projected back onto the picture."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from torchserve_saliency.images.geometry import Box, centred, pixel_box, project, scaled_size


@pytest.mark.parametrize(
    ("size", "resize", "wanted"),
    [
        ((640, 427), (256,), (383, 256)),
        ((427, 640), (256,), (256, 383)),
        ((500, 500), (232,), (232, 232)),
        ((1, 60000), (256,), (256, 15_360_000)),
        ((640, 427), (100, 300), (300, 100)),
    ],
)
def test_the_longer_side_is_truncated_to_whole_pixels(
    size: tuple[int, int], resize: tuple[int, ...], wanted: tuple[int, int]
) -> None:
    assert scaled_size(*size, resize) == wanted


@pytest.mark.parametrize(
    ("size", "resize", "fit", "wanted"),
    [
        ((640, 427), (224,), "letterbox", (224, 149)),
        ((427, 640), (224, 224), "letterbox", (149, 224)),
        ((640, 427), (100, 300), "letterbox", (150, 100)),
        ((640, 427), (100, 300), "cover", (300, 200)),
        ((427, 640), (100, 300), "cover", (300, 450)),
        ((1, 5000), (224,), "letterbox", (1, 224)),
        ((5000, 1), (224,), "letterbox", (224, 1)),
        ((10, 10), (224,), "letterbox", (224, 224)),
    ],
)
def test_letterbox_and_cover_keep_the_ratio(
    size: tuple[int, int], resize: tuple[int, ...], fit: str, wanted: tuple[int, int]
) -> None:
    """C10: the longer side is scaled, the other one is rounded."""
    assert scaled_size(*size, resize, fit) == wanted


@pytest.mark.parametrize(("scaled", "crop", "offset"), [(259, 224, 17), (256, 224, 16), (99, 224, -63)])
def test_crops_can_be_rounded_down(scaled: int, crop: int, offset: int) -> None:
    assert centred(2 * scaled, scaled, crop, "floor").offset == offset


@pytest.mark.parametrize(("scaled", "crop", "offset"), [(259, 224, 17), (256, 224, 16), (99, 224, -62), (98, 224, -63)])
def test_crops_can_be_rounded_towards_zero(scaled: int, crop: int, offset: int) -> None:
    assert centred(2 * scaled, scaled, crop, "zero").offset == offset


def test_a_picture_that_is_not_resized_keeps_its_size() -> None:
    assert scaled_size(640, 427, (256,), "none") == (640, 427)


@pytest.mark.parametrize(
    ("scaled", "crop", "offset", "filled"),
    [
        (256, 224, 16, (0, 224)),
        (257, 224, 16, (0, 224)),  # 16.5, half to even
        (259, 224, 18, (0, 224)),  # 17.5, half to even
        (224, 224, 0, (0, 224)),
        (100, 224, -62, (62, 162)),
        (99, 224, -62, (62, 161)),  # 125 pixels of padding: 62 before, 63 after
    ],
)
def test_crops_are_centred(scaled: int, crop: int, offset: int, filled: tuple[int, int]) -> None:
    axis = centred(2 * scaled, scaled, crop)
    assert axis.offset == offset
    assert axis.filled == filled
    assert axis.at(0) == 2 * offset
    assert axis.at(crop) == 2 * (offset + crop)
    assert axis.source == (2 * max(offset, 0), 2 * min(offset + crop, scaled))


@pytest.mark.parametrize(
    ("crop", "wanted"),
    [
        ((106.5, 0.0, 533.5, 427.0), (106, 0, 533, 427)),
        ((0.0, 0.0, 640.0, 427.0), (0, 0, 640, 427)),
        ((-50.0, -20.5, 700.0, 447.5), (0, 0, 640, 427)),
        ((100.4, 99.6, 200.6, 200.4), (100, 100, 201, 200)),
        ((320.6, 10.1, 320.9, 10.4), (320, 10, 321, 11)),  # contains the centre of no pixel
    ],
)
def test_pixel_box(crop: Box, wanted: tuple[int, int, int, int]) -> None:
    assert pixel_box(crop, 640, 427) == wanted


def map_of(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def at(saliency: NDArray[np.float32], down: float, across: float) -> float:
    """Return the map's bilinear value at a position in units of cells; the centre of the first cell is at 0.5."""
    total = 0.0
    for i, row in enumerate(saliency):
        for j, value in enumerate(row):
            y, x = (min(max(v - 0.5, 0), n - 1) for v, n in zip((down, across), saliency.shape, strict=True))
            total += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * float(value)
    return total


@pytest.mark.parametrize(
    "crop", [(3.2, 1.7, 31.9, 22.4), (0.0, 0.0, 40.0, 25.0), (-6.3, -2.0, 46.3, 27.0), (10.0, 5.0, 22.0, 15.0)]
)
def test_enlarged_maps_are_bilinear(crop: Box) -> None:
    width, height, saliency = 40, 25, map_of(5, 6)
    left, top, right, bottom = crop
    wanted = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            if left <= x + 0.5 < right and top <= y + 0.5 < bottom:
                down, across = (y + 0.5 - top) / (bottom - top) * 5, (x + 0.5 - left) / (right - left) * 6
                wanted[y, x] = at(saliency, down, across)
    projected = project(saliency, crop, width, height)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(projected, wanted, atol=1e-5)


@pytest.mark.parametrize("size", [(224, 224), (448, 300), (100, 120), (37, 224), (7, 5)])
def test_a_crop_of_the_whole_picture_equals_torch_interpolation(size: tuple[int, int]) -> None:
    saliency = map_of(3, 224, 224)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(saliency)[None], size[::-1], mode="bilinear", antialias=True
    )[0]
    projected = project(saliency, (0.0, 0.0, float(size[0]), float(size[1])), *size)
    np.testing.assert_allclose(projected, wanted.numpy(), atol=1e-4)  # torch computes positions in float32


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(0.3, 120),
    st.floats(0.3, 120),
    st.integers(1, 12),
)
@settings(deadline=None, max_examples=200)
def test_constants_are_kept_inside_and_zero_is_outside(
    width: int, height: int, across: float, down: float, cells: int
) -> None:
    # a centre crop has the same centre as the picture
    x, y = width / 2, height / 2
    crop = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
    projected = project(np.full((cells, cells), 2.5, np.float32), crop, width, height)
    left, top, right, bottom = pixel_box(crop, width, height)
    assert projected.shape == (height, width)
    np.testing.assert_allclose(projected[top:bottom, left:right], 2.5, rtol=1e-5)
    projected[top:bottom, left:right] = 0
    assert not projected.any()


def test_leading_axes_are_projected_independently() -> None:
    saliency = map_of(2, 3, 4, 4)
    crop = (2.0, 3.0, 18.0, 15.0)
    projected = project(saliency, crop, 20, 16)
    assert projected.shape == (2, 3, 16, 20)
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(projected[i, j], project(saliency[i, j], crop, 20, 16), atol=1e-6)


def test_signs_are_kept() -> None:
    saliency = np.array([[-1, 1], [1, -1]], np.float32)
    projected = project(saliency, (0.0, 0.0, 10.0, 10.0), 10, 10)
    assert (projected[0, 0], projected[0, -1]) == (-1, 1)


@pytest.mark.parametrize("size", [(1, 3_000_000), (3_000_000, 1)])
def test_very_long_pictures_need_no_more_than_their_own_memory(size: tuple[int, int]) -> None:
    crop = (0.0, 0.0, float(size[0]), float(size[1]))
    tracemalloc.start()
    projected = project(map_of(224, 224), crop, *size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert projected.shape == size[::-1]
    assert peak < 20 * projected.nbytes

"""The crop of a resized picture, compared with a resize of the whole picture by Pillow, and a float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from torchserve_saliency.images import resampling
from torchserve_saliency.images.filters import FILTERS, resampled_line, selected_line, weights_at
from torchserve_saliency.images.geometry import centred
from torchserve_saliency.images.pass_order import vertical_first_rule
from torchserve_saliency.images.resampling import resized_crop

MODES = ("L", "RGB", "RGBA", "F")
SIZES = [
    ((480, 320), (384, 256)),
    ((427, 640), (256, 383)),
    ((90, 401), (224, 224)),
    ((40, 4100), (30, 900)),
    ((1500, 1100), (349, 256)),
    ((900, 1600), (256, 455)),
    ((300, 300), (300, 120)),
    ((31, 7), (240, 230)),
]


def noise(size: tuple[int, int], mode: str) -> Image.Image:
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "F": 1}[mode]
    levels = np.random.default_rng(size).integers(0, 256, (size[1], size[0], bands), np.uint8)
    if mode == "F":
        return Image.fromarray(levels[..., 0].astype(np.float32) / 255)
    return Image.fromarray(levels[..., 0] if bands == 1 else levels)


def both(size: tuple[int, int], scaled: tuple[int, int], mode: str, filter: Image.Resampling) -> tuple[bytes, bytes]:
    """Return the bytes of a crop to 200 x 180, and those of the same crop of the whole picture resized by Pillow."""
    image = noise(size, mode)
    across, down = centred(size[0], scaled[0], 200), centred(size[1], scaled[1], 180)
    (left, right), (top, bottom) = across.filled, down.filled
    box = (left + across.offset, top + down.offset, right + across.offset, bottom + down.offset)
    whole = image.resize(scaled, filter).crop(box)
    return resized_crop(image, across, down, filter).tobytes(), whole.tobytes()


@pytest.mark.parametrize("filter", [*FILTERS, Image.Resampling.NEAREST])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "scaled"), SIZES)
def test_crops_equal_those_of_the_whole_picture(
    size: tuple[int, int], scaled: tuple[int, int], mode: str, filter: Image.Resampling
) -> None:
    ours, pillows = both(size, scaled, mode, filter)
    assert ours == pillows


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("size", "scaled"), SIZES[:6])
def test_strips_in_threads_change_nothing(
    size: tuple[int, int], scaled: tuple[int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "STRIP_PIXELS", 1000)
    monkeypatch.setattr(resampling, "_thread_count", lambda: threads)
    ours, pillows = both(size, scaled, "RGB", Image.Resampling.BICUBIC)
    assert ours == pillows


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "scaled"), [*SIZES, ((1700, 1300), (290, 240)), ((700, 2600), (150, 300))])
def test_lines_of_large_pictures_are_not_copied(
    size: tuple[int, int],
    scaled: tuple[int, int],
    mode: str,
    filter: Image.Resampling,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resampling, "MOST_COPIED_PIXELS", 1000)
    ours, pillows = both(size, scaled, mode, filter)
    assert ours == pillows


@pytest.mark.parametrize("filter", [*FILTERS, Image.Resampling.NEAREST])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "scaled"), SIZES)
def test_pictures_that_pillow_cannot_resize_whole_get_its_pixels(
    size: tuple[int, int],
    scaled: tuple[int, int],
    mode: str,
    filter: Image.Resampling,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resampling, "MOST_RESIZED_PIXELS", 0)
    ours, pillows = both(size, scaled, mode, filter)
    assert ours == pillows


def test_an_unknown_order_of_the_passes_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "vertical_first_rule", lambda: None)
    for size, scaled in SIZES:
        ours, pillows = both(size, scaled, "RGB", Image.Resampling.BILINEAR)
        assert ours == pillows


def test_the_order_of_the_passes_of_this_pillow_is_known() -> None:
    assert vertical_first_rule() is not None


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("length", "scaled"), [(100, 37), (37, 100), (1000, 12), (64, 64)])
def test_weights_sum_to_1_around_the_centre(length: int, scaled: int, filter: Image.Resampling) -> None:
    for index in range(scaled):
        first, weights = weights_at(index, length, scaled, filter)
        assert 0 <= first < first + len(weights) <= length
        assert weights.sum() == pytest.approx(1)
        centre, inside = (index + 0.5) * length / scaled, first > 0 and first + len(weights) < length
        if inside and filter not in (Image.Resampling.BOX, Image.Resampling.HAMMING):
            mean = (weights * (first + np.arange(len(weights)) + 0.5)).sum()
            assert mean == pytest.approx(centre, abs=0.15 * max(length / scaled, 1))


def test_a_line_is_resampled_where_pillow_would_need_gigabytes() -> None:
    length, scaled = 60_000, 15_360_000
    levels = np.random.default_rng(0).integers(0, 256, (length, 1), np.uint8)
    axis = centred(length, scaled, 224)
    shown = (axis.offset, axis.offset + 224)
    part = resampled_line(Image.fromarray(levels), 1, 0, axis, shown, Image.Resampling.BILINEAR)
    places = (np.arange(*shown) + 0.5) * length / scaled - 0.5
    wanted = np.interp(places, np.arange(length), levels[:, 0].astype(float))
    assert np.abs(np.asarray(part)[:, 0] - wanted).max() <= 0.5 + 1e-3


def test_selected_pixels_are_the_nearest() -> None:
    axis = centred(1000, 333, 100)
    wanted = ((np.arange(50, 150) + 0.5) * 1000 / 333).astype(int)
    np.testing.assert_array_equal(selected_line(axis, (50, 150)), wanted)

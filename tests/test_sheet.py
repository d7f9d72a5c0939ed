"""Sheets of channels: tiles in their places, each in colours of its own."""

from __future__ import annotations

import numpy as np
import pytest

from saliency.explanation import View
from saliency.sheet import GAP, TILE, sheet

VIEW = View(clip=100, colormap="gray")


def ramp(count: int, side: int = 8) -> np.ndarray:
    """Return channels [count, side, side] that rise from 0 to the number of the channel."""
    rise = np.linspace(0, 1, side * side, dtype=np.float32).reshape(side, side)
    return np.stack([rise * number for number in range(1, count + 1)])


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (16, 4, 4), (17, 5, 4)])
def test_tiles_are_about_as_many_across_as_down(count: int, columns: int, rows: int) -> None:
    assert sheet(ramp(count), VIEW).size == (columns * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP)


def test_each_tile_spans_its_own_values() -> None:
    pixels = np.asarray(sheet(ramp(4), VIEW))
    step = TILE + GAP
    tiles = [pixels[r : r + TILE, c : c + TILE] for r in (0, step) for c in (0, step)]
    for tile in tiles:
        np.testing.assert_array_equal(tile, tiles[0])
    assert (tiles[0].min(), tiles[0].max()) == (0, 255)
    assert (pixels[TILE:step] == 255).all()


def test_a_cell_is_a_square_of_one_colour() -> None:
    pixels = np.asarray(sheet(ramp(1), VIEW))[..., 0].reshape(8, 8, 8, 8)
    assert (pixels == pixels[:, :1, :, :1]).all()


def test_channels_larger_than_a_tile_keep_their_size() -> None:
    assert sheet(ramp(3, TILE + 6), VIEW).size == (2 * (TILE + 6) + GAP, 2 * (TILE + 6) + GAP)


def test_negative_channels_make_the_colours_signed() -> None:
    channels = ramp(2) * np.array([1, -1], np.float32)[:, None, None]
    pixels = np.asarray(sheet(channels, View(clip=100)))
    assert pixels[TILE - 1, TILE - 1].tolist() == [255, 0, 0]
    assert pixels[TILE - 1, -1].tolist() == [0, 0, 255]
    assert pixels[0, 0].tolist() == [255, 254, 254]

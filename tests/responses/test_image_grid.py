"""Pictures side by side, and grids of channels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.image_grid import GAP, TILE, channel_grid, concatenate

VIEW = View(clip=100, colormap="gray")


def ramp(count: int, side: int = 8) -> np.ndarray:
    """Return channels [count, side, side]; channel k has the values 0 to k + 1."""
    rise = np.linspace(0, 1, side * side, dtype=np.float32).reshape(side, side)
    return np.stack([rise * number for number in range(1, count + 1)])


def test_concatenated_pictures_can_be_split_again() -> None:
    solid = [Image.new("RGB", (5, 4), "red"), Image.new("RGBA", (5, 4), (0, 0, 255, 0))]
    row = concatenate(solid)
    assert (row.mode, row.size) == ("RGBA", (10, 4))
    assert row.getpixel((4, 3)) == (255, 0, 0, 255)
    assert row.getpixel((5, 0)) == (0, 0, 255, 0)
    assert concatenate(solid[:1]).mode == "RGB"


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (16, 4, 4), (17, 5, 4)])
def test_a_grid_has_about_as_many_rows_as_columns(count: int, columns: int, rows: int) -> None:
    assert channel_grid(ramp(count), VIEW).size == (columns * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP)


def test_each_tile_is_scaled_to_its_own_values() -> None:
    pixels = np.asarray(channel_grid(ramp(4), VIEW))
    step = TILE + GAP
    tiles = [pixels[r : r + TILE, c : c + TILE] for r in (0, step) for c in (0, step)]
    for tile in tiles:
        np.testing.assert_array_equal(tile, tiles[0])
    assert (tiles[0].min(), tiles[0].max()) == (0, 255)
    assert (pixels[TILE:step] == 255).all()


def test_a_cell_is_a_square_of_one_colour() -> None:
    pixels = np.asarray(channel_grid(ramp(1), VIEW))[..., 0].reshape(8, 8, 8, 8)
    assert (pixels == pixels[:, :1, :, :1]).all()


def test_channels_larger_than_a_tile_keep_their_size() -> None:
    assert channel_grid(ramp(3, TILE + 6), VIEW).size == (2 * (TILE + 6) + GAP, 2 * (TILE + 6) + GAP)


def test_the_colours_are_signed_if_a_channel_is_negative() -> None:
    channels = ramp(2) * np.array([1, -1], np.float32)[:, None, None]
    pixels = np.asarray(channel_grid(channels, View(clip=100)))
    assert pixels[TILE - 1, TILE - 1].tolist() == [255, 0, 0]
    assert pixels[TILE - 1, -1].tolist() == [0, 0, 255]
    assert pixels[0, 0].tolist() == [255, 254, 254]

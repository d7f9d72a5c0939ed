"""The pixels outside the crop that the network saw are drawn separately, and do not change the inside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.drawing import BOX, HEIGHT, WIDTH, bump, colourful, pixels_of
from torchserve_saliency.responses.rendering import RENDERERS

SINGLE_PICTURES = [render for render in RENDERERS if render != "side_by_side"]


@pytest.mark.parametrize("render", SINGLE_PICTURES)
def test_values_outside_do_not_change_colours_inside(render: str) -> None:
    left, top, right, bottom = BOX
    loud = np.full((HEIGHT, WIDTH), 50, np.float32)
    quiet = np.zeros((HEIGHT, WIDTH), np.float32)
    inner = bump()[top:bottom, left:right]
    loud[top:bottom, left:right] = quiet[top:bottom, left:right] = inner
    np.testing.assert_array_equal(pixels_of(loud, render, inside=BOX), pixels_of(quiet, render, inside=BOX))


@pytest.mark.parametrize("render", ["heatmap", "overlay", "contours"])
def test_the_inside_of_a_box_is_drawn_as_if_it_were_the_whole_picture(render: str) -> None:
    left, top, right, bottom = BOX
    saliency, picture = bump(), colourful()
    inner = pixels_of(saliency[top:bottom, left:right], render, picture[top:bottom, left:right])
    np.testing.assert_array_equal(pixels_of(saliency, render, inside=BOX)[top:bottom, left:right, :3], inner)


def _outside() -> NDArray[np.bool_]:
    """Return the mask of the pixels outside the box."""
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = False
    return mask


def test_a_heatmap_is_transparent_outside() -> None:
    drawn = pixels_of(bump(), "heatmap", inside=BOX)
    assert drawn.shape == (HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(drawn[..., 3], np.where(_outside(), 0, 255))


@pytest.mark.parametrize("render", ["overlay", "contours"])
def test_the_picture_is_unchanged_outside(render: str) -> None:
    drawn = pixels_of(bump(at=(0.2, 0.2)), render, inside=BOX)
    np.testing.assert_array_equal(drawn[_outside()], colourful()[_outside()])
    assert (drawn[~_outside()] != colourful()[~_outside()]).any()


def test_a_masked_picture_is_dark_outside() -> None:
    drawn = pixels_of(np.ones((HEIGHT, WIDTH), np.float32) * bump(), "masked", inside=BOX)
    assert (drawn[_outside()] < 0.4 * colourful()[_outside()]).all()


def test_a_box_around_the_whole_picture_changes_nothing() -> None:
    whole = pixels_of(bump(), "heatmap", inside=(0, 0, WIDTH, HEIGHT))
    np.testing.assert_array_equal(whole, pixels_of(bump(), "heatmap"))


def test_side_by_side_keeps_the_transparency_of_its_heatmap() -> None:
    drawn = pixels_of(bump(), "side_by_side", inside=BOX)
    assert [(panel[..., 3] == 255).all() for panel in np.split(drawn, 3, axis=1)] == [True, False, True]

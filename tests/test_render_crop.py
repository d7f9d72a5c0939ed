"""What lies outside the crop that the network saw is drawn apart, and changes nothing inside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency.render import KINDS
from tests.drawing import BOX, HEIGHT, WIDTH, bump, colourful, pixels_of

FLAT_KINDS = [kind for kind in KINDS if kind != "side_by_side"]


@pytest.mark.parametrize("kind", FLAT_KINDS)
def test_what_lies_outside_changes_no_colour_inside(kind: str) -> None:
    left, top, right, bottom = BOX
    loud = np.full((HEIGHT, WIDTH), 50, np.float32)
    quiet = np.zeros((HEIGHT, WIDTH), np.float32)
    inner = bump()[top:bottom, left:right]
    loud[top:bottom, left:right] = quiet[top:bottom, left:right] = inner
    np.testing.assert_array_equal(pixels_of(loud, kind, inside=BOX), pixels_of(quiet, kind, inside=BOX))


@pytest.mark.parametrize("kind", ["heatmap", "overlay", "contours"])
def test_inside_a_box_is_as_if_there_were_no_outside(kind: str) -> None:
    left, top, right, bottom = BOX
    saliency, picture = bump(), colourful()
    inner = pixels_of(saliency[top:bottom, left:right], kind, picture[top:bottom, left:right])
    np.testing.assert_array_equal(pixels_of(saliency, kind, inside=BOX)[top:bottom, left:right, :3], inner)


def _outside() -> NDArray[np.bool_]:
    """Return which pixels lie outside the box."""
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = False
    return mask


def test_a_heatmap_is_transparent_outside() -> None:
    drawn = pixels_of(bump(), "heatmap", inside=BOX)
    assert drawn.shape == (HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(drawn[..., 3], np.where(_outside(), 0, 255))


@pytest.mark.parametrize("kind", ["overlay", "contours"])
def test_the_picture_is_plain_outside(kind: str) -> None:
    drawn = pixels_of(bump(at=(0.2, 0.2)), kind, inside=BOX)
    np.testing.assert_array_equal(drawn[_outside()], colourful()[_outside()])
    assert (drawn[~_outside()] != colourful()[~_outside()]).any()


def test_a_masked_picture_is_dark_outside() -> None:
    drawn = pixels_of(np.ones((HEIGHT, WIDTH), np.float32) * bump(), "masked", inside=BOX)
    assert (drawn[_outside()] < 0.4 * colourful()[_outside()]).all()


def test_a_box_around_everything_makes_no_difference() -> None:
    whole = pixels_of(bump(), "heatmap", inside=(0, 0, WIDTH, HEIGHT))
    np.testing.assert_array_equal(whole, pixels_of(bump(), "heatmap"))


def test_side_by_side_keeps_the_transparency_of_its_heatmap() -> None:
    drawn = pixels_of(bump(), "side_by_side", inside=BOX)
    assert [(panel[..., 3] == 255).all() for panel in np.split(drawn, 3, axis=1)] == [True, False, True]

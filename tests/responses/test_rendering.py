"""All renderers: sizes, display ranges, signs and channels of maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.drawing import BOX, HEIGHT, WIDTH, Map, bump, colourful, colours_of, pixels_of
from torchserve_saliency.errors import RequestError
from torchserve_saliency.responses.colormap import SEQUENTIAL
from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.rendering import RENDERERS, draw
from torchserve_saliency.responses.smoothing import FINEST


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (32, 32), (FINEST + 1, 3), (700, 1300)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_all_renderers_draw_all_sizes(render: str, size: tuple[int, int], channels: tuple[int, ...]) -> None:
    saliency = np.random.default_rng(0).normal(size=(*channels, *size)).astype(np.float32)
    image = draw(saliency, colourful(*size), View(render=render), None)
    panels = 3 if render == "side_by_side" else 1
    assert (image.mode, image.size) == ("RGB", (panels * size[1], size[0]))


@pytest.mark.parametrize("render", RENDERERS)
def test_the_picture_and_the_map_are_not_modified(render: str) -> None:
    saliency, picture = bump() - np.float32(0.2), colourful()
    saliency.setflags(write=False)
    picture.setflags(write=False)
    draw(saliency, picture, View(render=render), BOX)
    np.testing.assert_array_equal(saliency, bump() - np.float32(0.2))
    np.testing.assert_array_equal(picture, colourful())


def test_side_by_side_is_the_picture_the_heatmap_and_the_overlay() -> None:
    panels = np.split(pixels_of(bump(), "side_by_side"), 3, axis=1)
    for panel, expected in zip(
        panels, (colourful(), pixels_of(bump(), "heatmap"), pixels_of(bump(), "overlay")), strict=True
    ):
        np.testing.assert_array_equal(panel, expected)


def test_an_unsigned_heatmap_spans_floor_to_clip() -> None:
    saliency = np.random.default_rng(0).exponential(size=(HEIGHT, WIDTH)).astype(np.float32)
    low, high = np.percentile(saliency, (10, 90))
    level = np.clip((saliency - low) / (high - low), 0, 1)
    drawn = pixels_of(saliency, "heatmap", floor=10, clip=90, colormap="viridis")
    assert np.abs(drawn - colours_of("viridis", level)).max() <= 4  # one step of the colormap
    assert (drawn == colours_of("viridis", 1.0)).all(-1).mean() == pytest.approx(0.1, abs=0.01)


def test_a_signed_heatmap_is_symmetric_about_its_neutral_zero() -> None:
    saliency = np.random.default_rng(0).normal(1, 2, (HEIGHT, WIDTH)).astype(np.float32)
    saliency[0, 0] = 0
    drawn, mirrored = pixels_of(saliency, "heatmap"), pixels_of(-saliency, "heatmap")
    assert np.abs(drawn - mirrored[..., ::-1]).max() <= 2
    assert drawn[0, 0].min() >= 253
    assert (drawn[saliency > 0.5][:, 0] > drawn[saliency > 0.5][:, 2]).all(), "red above 0"
    assert (drawn[saliency < -0.5][:, 2] > drawn[saliency < -0.5][:, 0]).all(), "blue below 0"


def test_the_floor_of_a_signed_map_hides_small_magnitudes_of_both_signs() -> None:
    saliency = np.linspace(-1, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    drawn = pixels_of(saliency, "heatmap", floor=50)
    assert (drawn[np.abs(saliency) < 0.49] >= 253).all()
    assert (drawn[np.abs(saliency) > 0.52].min(-1) < 250).all()


def test_a_single_large_pixel_is_visible_although_no_percentile_includes_it() -> None:
    saliency = np.zeros((HEIGHT, WIDTH), np.float32)
    saliency[7, 9] = 1e-20
    drawn = pixels_of(saliency, "heatmap")
    np.testing.assert_array_equal(drawn[7, 9], colours_of(SEQUENTIAL, 1.0))
    assert (np.delete(drawn.reshape(-1, 3), 7 * WIDTH + 9, 0) == colours_of(SEQUENTIAL, 0.0)).all()


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("value", [0.0, 1e-45, 7.0, 3e38])
def test_a_constant_map_is_drawn_like_an_empty_one(render: str, value: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        drawn = pixels_of(np.full((HEIGHT, WIDTH), value, np.float32), render)
    empty = pixels_of(np.zeros((HEIGHT, WIDTH), np.float32), render)
    np.testing.assert_array_equal(drawn, empty)


def test_an_empty_map_shows_only_the_picture() -> None:
    empty = np.zeros((HEIGHT, WIDTH), np.float32)
    assert (pixels_of(empty, "heatmap") == colours_of(SEQUENTIAL, 0.0)).all()
    np.testing.assert_array_equal(pixels_of(empty, "contours"), colourful())
    np.testing.assert_array_equal(pixels_of(empty, "overlay"), pixels_of(bump(), "overlay", alpha=0.0))
    assert (pixels_of(empty, "masked") < 0.4 * colourful()).all()


def test_a_negative_map_is_drawn_in_the_negative_colour() -> None:
    drawn = pixels_of(-1 - bump(), "heatmap")
    assert (drawn[..., 2] > drawn[..., 0]).all()


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("factor", [2.0**-100, 2.0**100])
def test_the_scale_of_a_map_does_not_change_its_picture(render: str, factor: float) -> None:
    saliency = bump() - np.float32(0.3)
    np.testing.assert_array_equal(pixels_of(saliency, render), pixels_of(saliency * np.float32(factor), render))


def test_three_channels_are_colour_on_one_scale() -> None:
    saliency = np.zeros((3, HEIGHT, WIDTH), np.float32)
    saliency[0, :, :20], saliency[1, :, 20:40], saliency[2, :, 40:] = 1, 0.5, 0.25
    drawn = pixels_of(saliency, "heatmap")
    assert [drawn[5, column].tolist() for column in (5, 25, 45)] == [[255, 0, 0], [0, 128, 0], [0, 0, 64]]


def test_three_signed_channels_are_grey_at_zero() -> None:
    saliency = np.zeros((3, HEIGHT, WIDTH), np.float32)
    saliency[0, 0, :], saliency[1, 1, :] = 1, -1
    drawn = pixels_of(saliency, "heatmap")
    assert [drawn[row, 5].tolist() for row in (0, 1, 2)] == [[255, 128, 128], [128, 0, 128], [128, 128, 128]]


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("render", RENDERERS)
def test_other_numbers_of_channels_are_an_error(render: str, channels: int) -> None:
    with pytest.raises(RequestError) as caught:
        draw(np.zeros((channels, HEIGHT, WIDTH), np.float32), colourful(), View(render=render), None)
    assert (caught.value.status, caught.value.option) == (400, "reduce")


@settings(deadline=None)
@given(
    arrays(
        np.float32,
        st.sampled_from([(5, 4), (1, 6), (3, 4, 5)]),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from(sorted(RENDERERS)),
    st.floats(0, 60),
    st.floats(60, 100),
)
def test_any_finite_map_is_drawn_without_floating_point_errors(
    saliency: Map, render: str, floor: float, clip: float
) -> None:
    with np.errstate(all="raise", under="ignore"):
        drawn = pixels_of(saliency, render, floor=floor, clip=clip)
    assert drawn.shape[0] == saliency.shape[-2]
    assert drawn.shape[1] == saliency.shape[-1] * (3 if render == "side_by_side" else 1)

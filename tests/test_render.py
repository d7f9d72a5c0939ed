"""Each kind of picture shows what its map says, and nothing that it does not say."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from saliency.colormap import SEQUENTIAL
from saliency.errors import RequestError
from saliency.explanation import View
from saliency.render import KINDS, LEVELS, PixelBox, beside, check_colormap, draw
from saliency.smooth import FINEST, smooth

Map = NDArray[np.float32]
Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 48, 64
BOX = (8, 4, 56, 44)
FLAT_KINDS = [kind for kind in KINDS if kind != "side_by_side"]


def _picture(height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """Return a colourful picture without very dark pixels."""
    down, across = np.mgrid[:height, :width]
    red, green = 80 + 150 * across / width, 80 + 150 * down / height
    return np.stack([red, green, 250 - red / 2], axis=-1).astype(np.uint8)


def _bump(height: int = HEIGHT, width: int = WIDTH, at: tuple[float, float] = (0.5, 0.5)) -> Map:
    """Return a map that is 1 at a place given as shares of (height, width), and falls off around it."""
    down, across = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(down - at[0] * height, across - at[1] * width)
    return np.exp(-((distance / (0.15 * width)) ** 2)).astype(np.float32)


def _drawn(
    saliency: Map, render: str, picture: Pixels | None = None, inside: PixelBox | None = None, **view: object
) -> NDArray[np.int_]:
    """Return the drawn picture's pixels [H, W, 3 or 4], as integers that can be subtracted."""
    under = _picture(*saliency.shape[-2:]) if picture is None else picture
    return np.asarray(draw(saliency, under, View(render=render, **view), inside), int)  # type: ignore[arg-type]


def _colours(name: str, level: NDArray[np.floating] | float) -> NDArray[np.int_]:
    """Return Matplotlib's own colours of levels 0 to 1."""
    colours = matplotlib.colormaps[name](np.atleast_1d(level), bytes=True)[..., :3]
    return np.asarray(colours, int).reshape(*np.shape(level), 3)


# --- Sizes ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (32, 32), (FINEST + 1, 3), (700, 1300)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_kind_draws_every_size(kind: str, size: tuple[int, int], channels: tuple[int, ...]) -> None:
    saliency = np.random.default_rng(0).normal(size=(*channels, *size)).astype(np.float32)
    image = draw(saliency, _picture(*size), View(render=kind), None)
    panels = 3 if kind == "side_by_side" else 1
    assert (image.mode, image.size) == ("RGB", (panels * size[1], size[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_and_the_map_are_left_as_they_were(kind: str) -> None:
    saliency, picture = _bump() - np.float32(0.2), _picture()
    saliency.setflags(write=False)
    picture.setflags(write=False)
    draw(saliency, picture, View(render=kind), BOX)
    np.testing.assert_array_equal(saliency, _bump() - np.float32(0.2))
    np.testing.assert_array_equal(picture, _picture())


def test_side_by_side_is_the_picture_the_heatmap_and_the_overlay() -> None:
    panels = np.split(_drawn(_bump(), "side_by_side"), 3, axis=1)
    for panel, expected in zip(
        panels, (_picture(), _drawn(_bump(), "heatmap"), _drawn(_bump(), "overlay")), strict=True
    ):
        np.testing.assert_array_equal(panel, expected)


def test_pictures_beside_each_other_can_be_cut_apart_again() -> None:
    solid = [Image.new("RGB", (5, 4), "red"), Image.new("RGBA", (5, 4), (0, 0, 255, 0))]
    row = beside(solid)
    assert (row.mode, row.size) == ("RGBA", (10, 4))
    assert row.getpixel((4, 3)) == (255, 0, 0, 255)
    assert row.getpixel((5, 0)) == (0, 0, 255, 0)
    assert beside(solid[:1]).mode == "RGB"


# --- The heatmap ---


def test_an_unsigned_heatmap_spans_floor_to_clip() -> None:
    saliency = np.random.default_rng(0).exponential(size=(HEIGHT, WIDTH)).astype(np.float32)
    low, high = np.percentile(saliency, (10, 90))
    level = np.clip((saliency - low) / (high - low), 0, 1)
    drawn = _drawn(saliency, "heatmap", floor=10, clip=90, colormap="viridis")
    assert np.abs(drawn - _colours("viridis", level)).max() <= 4  # one step of the colormap
    assert (drawn == _colours("viridis", 1.0)).all(-1).mean() == pytest.approx(0.1, abs=0.01)


def test_a_signed_heatmap_is_symmetric_about_its_neutral_zero() -> None:
    saliency = np.random.default_rng(0).normal(1, 2, (HEIGHT, WIDTH)).astype(np.float32)
    saliency[0, 0] = 0
    drawn, mirrored = _drawn(saliency, "heatmap"), _drawn(-saliency, "heatmap")
    assert np.abs(drawn - mirrored[..., ::-1]).max() <= 2
    assert drawn[0, 0].min() >= 253
    assert (drawn[saliency > 0.5][:, 0] > drawn[saliency > 0.5][:, 2]).all(), "red above 0"
    assert (drawn[saliency < -0.5][:, 2] > drawn[saliency < -0.5][:, 0]).all(), "blue below 0"


def test_the_floor_of_a_signed_map_hides_small_magnitudes_of_both_signs() -> None:
    saliency = np.linspace(-1, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    drawn = _drawn(saliency, "heatmap", floor=50)
    assert (drawn[np.abs(saliency) < 0.49] >= 253).all()
    assert (drawn[np.abs(saliency) > 0.52].min(-1) < 250).all()


def test_a_single_hot_pixel_is_seen_though_the_percentile_misses_it() -> None:
    saliency = np.zeros((HEIGHT, WIDTH), np.float32)
    saliency[7, 9] = 1e-20
    drawn = _drawn(saliency, "heatmap")
    np.testing.assert_array_equal(drawn[7, 9], _colours(SEQUENTIAL, 1.0))
    assert (np.delete(drawn.reshape(-1, 3), 7 * WIDTH + 9, 0) == _colours(SEQUENTIAL, 0.0)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 1e-45, 7.0, 3e38])
def test_a_map_that_is_the_same_everywhere_shows_nothing(kind: str, value: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        drawn = _drawn(np.full((HEIGHT, WIDTH), value, np.float32), kind)
    empty = _drawn(np.zeros((HEIGHT, WIDTH), np.float32), kind)
    np.testing.assert_array_equal(drawn, empty)


def test_an_empty_map_leaves_only_the_picture() -> None:
    empty = np.zeros((HEIGHT, WIDTH), np.float32)
    assert (_drawn(empty, "heatmap") == _colours(SEQUENTIAL, 0.0)).all()
    np.testing.assert_array_equal(_drawn(empty, "contours"), _picture())
    np.testing.assert_array_equal(_drawn(empty, "overlay"), _drawn(_bump(), "overlay", alpha=0.0))
    assert (_drawn(empty, "masked") < 0.4 * _picture()).all()


def test_a_map_that_is_negative_everywhere_shows_in_the_negative_colour() -> None:
    drawn = _drawn(-1 - _bump(), "heatmap")
    assert (drawn[..., 2] > drawn[..., 0]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [2.0**-100, 2.0**100])
def test_the_unit_of_a_map_changes_nothing(kind: str, factor: float) -> None:
    saliency = _bump() - np.float32(0.3)
    np.testing.assert_array_equal(_drawn(saliency, kind), _drawn(saliency * np.float32(factor), kind))


# --- Three channels ---


def test_three_channels_are_colour_on_one_scale() -> None:
    saliency = np.zeros((3, HEIGHT, WIDTH), np.float32)
    saliency[0, :, :20], saliency[1, :, 20:40], saliency[2, :, 40:] = 1, 0.5, 0.25
    drawn = _drawn(saliency, "heatmap")
    assert [drawn[5, column].tolist() for column in (5, 25, 45)] == [[255, 0, 0], [0, 128, 0], [0, 0, 64]]


def test_three_signed_channels_are_grey_at_zero() -> None:
    saliency = np.zeros((3, HEIGHT, WIDTH), np.float32)
    saliency[0, 0, :], saliency[1, 1, :] = 1, -1
    drawn = _drawn(saliency, "heatmap")
    assert [drawn[row, 5].tolist() for row in (0, 1, 2)] == [[255, 128, 128], [128, 0, 128], [128, 128, 128]]


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_other_counts_of_channels_are_refused(kind: str, channels: int) -> None:
    with pytest.raises(RequestError) as refusal:
        draw(np.zeros((channels, HEIGHT, WIDTH), np.float32), _picture(), View(render=kind), None)
    assert (refusal.value.status, refusal.value.option) == (400, "reduce")


# --- On the picture ---


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overlay_colours_the_bump_and_leaves_the_rest(sign: int) -> None:
    saliency = sign * _bump(96, 128, at=(0.3, 0.3))
    plain, drawn = (_drawn(saliency, "overlay", alpha=alpha) for alpha in (0.0, 0.8))
    change = np.abs(drawn - plain).max(-1)
    assert change[60:, 90:].max() == 0
    assert change[29, 38] > 60
    assert change[29, 38] == pytest.approx(change.max(), abs=40)


def test_an_overlays_opacity_is_alpha_times_the_value() -> None:
    saliency = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (300, 1))
    plain, drawn = (_drawn(saliency, "overlay", alpha=alpha, clip=100, colormap="binary") for alpha in (0, 0.5))
    inner = (slice(None), slice(40, -40))  # the smoothing bends a ramp at its ends only
    value = saliency[inner][..., None]
    expected = plain[inner] * (1 - 0.5 * value) + 255 * (1 - value) * 0.5 * value
    assert np.abs(drawn[inner] - expected).max() < 4


def test_beneath_an_overlay_the_picture_is_greyer_and_darker() -> None:
    plain = _drawn(np.zeros((HEIGHT, WIDTH), np.float32), "overlay")
    assert np.ptp(plain, axis=-1).mean() < 0.4 * np.ptp(_picture(), axis=-1).mean()
    assert plain.mean() == pytest.approx(0.8 * _picture().mean(), rel=0.05)


def test_a_signed_map_stays_signed_when_smoothing_drowns_its_negative_values() -> None:
    saliency = _bump()
    saliency[0, 0] = -0.01
    drawn = _drawn(saliency, "overlay", alpha=1.0)
    assert drawn[24, 32, 0] > 200 > 50 > drawn[24, 32, 2], "the diverging colormap's red"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_masked_picture_keeps_the_bump_and_darkens_the_rest(sign: int) -> None:
    drawn = _drawn(sign * _bump(96, 128, at=(0.3, 0.3)), "masked")
    picture = _picture(96, 128)
    np.testing.assert_array_equal(drawn[27:31, 36:41], picture[27:31, 36:41])
    assert (drawn[60:, 90:] < 0.35 * picture[60:, 90:]).all()
    steps = np.abs(np.diff(drawn.mean(-1), axis=1)).max()
    assert steps < 0.25 * picture.mean(), "a soft edge"


def test_contours_run_where_the_map_has_their_levels() -> None:
    down, across = np.mgrid[:240, :240]
    distance = np.hypot(down - 120, across - 120)
    cone = np.maximum(1 - distance / 110, 0).astype(np.float32)
    picture = np.full((240, 240, 3), 128, np.uint8)
    drawn = _drawn(cone, "contours", picture, clip=100)
    changed = (drawn != 128).any(-1)
    radii = [110 * (1 - level) for level in LEVELS]
    near = np.min([np.abs(distance - radius) for radius in radii], axis=0)
    assert near[changed].max() < 10, "smoothing rounds the tip of the cone a little"
    for radius in radii:
        assert (changed & (np.abs(distance - radius) < 8)).sum() > 2 * np.pi * radius, "closed"


def test_a_signed_map_has_contours_on_both_sides() -> None:
    saliency = _bump(96, 128, at=(0.5, 0.25)) - _bump(96, 128, at=(0.5, 0.75))
    drawn = _drawn(saliency, "contours", np.full((96, 128, 3), 128, np.uint8))
    left, right = drawn[:, :64] - 128, drawn[:, 64:] - 128
    assert left[..., 0].sum() > left[..., 2].sum()
    assert right[..., 2].sum() > right[..., 0].sum()


# --- Outside the crop ---


@pytest.mark.parametrize("kind", FLAT_KINDS)
def test_what_lies_outside_changes_no_colour_inside(kind: str) -> None:
    left, top, right, bottom = BOX
    loud = np.full((HEIGHT, WIDTH), 50, np.float32)
    quiet = np.zeros((HEIGHT, WIDTH), np.float32)
    inner = _bump()[top:bottom, left:right]
    loud[top:bottom, left:right] = quiet[top:bottom, left:right] = inner
    np.testing.assert_array_equal(_drawn(loud, kind, inside=BOX), _drawn(quiet, kind, inside=BOX))


@pytest.mark.parametrize("kind", ["heatmap", "overlay", "contours"])
def test_inside_a_box_is_as_if_there_were_no_outside(kind: str) -> None:
    left, top, right, bottom = BOX
    saliency, picture = _bump(), _picture()
    inner = _drawn(saliency[top:bottom, left:right], kind, picture[top:bottom, left:right])
    np.testing.assert_array_equal(_drawn(saliency, kind, inside=BOX)[top:bottom, left:right, :3], inner)


def _outside() -> NDArray[np.bool_]:
    """Return which pixels lie outside the box."""
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = False
    return mask


def test_a_heatmap_is_transparent_outside() -> None:
    drawn = _drawn(_bump(), "heatmap", inside=BOX)
    assert drawn.shape == (HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(drawn[..., 3], np.where(_outside(), 0, 255))


@pytest.mark.parametrize("kind", ["overlay", "contours"])
def test_the_picture_is_plain_outside(kind: str) -> None:
    drawn = _drawn(_bump(at=(0.2, 0.2)), kind, inside=BOX)
    np.testing.assert_array_equal(drawn[_outside()], _picture()[_outside()])
    assert (drawn[~_outside()] != _picture()[~_outside()]).any()


def test_a_masked_picture_is_dark_outside() -> None:
    drawn = _drawn(np.ones((HEIGHT, WIDTH), np.float32) * _bump(), "masked", inside=BOX)
    assert (drawn[_outside()] < 0.4 * _picture()[_outside()]).all()


def test_a_box_around_everything_makes_no_difference() -> None:
    whole = _drawn(_bump(), "heatmap", inside=(0, 0, WIDTH, HEIGHT))
    np.testing.assert_array_equal(whole, _drawn(_bump(), "heatmap"))


def test_side_by_side_keeps_the_transparency_of_its_heatmap() -> None:
    drawn = _drawn(_bump(), "side_by_side", inside=BOX)
    assert [(panel[..., 3] == 255).all() for panel in np.split(drawn, 3, axis=1)] == [True, False, True]


# --- Smoothing ---


@pytest.mark.parametrize("size", [(20, 30), (7, 41)])
def test_smoothing_is_a_gaussian_mean(size: tuple[int, int]) -> None:
    saliency = np.random.default_rng(0).normal(size=size)
    sigma = 0.1 * size[1]
    expected = np.empty(size)
    down, across = np.mgrid[: size[0], : size[1]]
    for row, column in np.ndindex(*size):
        weights = np.exp(-((down - row) ** 2 + (across - column) ** 2) / (2 * sigma**2))
        expected[row, column] = (weights * saliency).sum() / weights.sum()
    actual = smooth(saliency.astype(np.float32), 0.1)
    np.testing.assert_allclose(actual, expected / np.abs(saliency).max(), atol=1e-6)


@pytest.mark.parametrize("size", [(20, 30), (700, 1300)])
@pytest.mark.parametrize("value", [-1e-45, 0.0, 7.3, 3e38])
def test_smoothing_keeps_a_constant_exactly(size: tuple[int, int], value: float) -> None:
    assert np.unique(smooth(np.full(size, value, np.float32), 0.015)) == np.sign(value)


def test_large_maps_are_smoothed_smaller_and_look_the_same() -> None:
    small, large = smooth(_bump(300, 400), 0.03), smooth(_bump(1200, 1600), 0.03)
    assert large.shape == (384, FINEST)
    shrunk = Image.fromarray(large).resize((400, 300), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(np.asarray(shrunk), small, atol=0.01)


# --- Any map at all ---


@settings(deadline=None)
@given(
    arrays(
        np.float32,
        st.sampled_from([(5, 4), (1, 6), (3, 4, 5)]),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from(sorted(KINDS)),
    st.floats(0, 60),
    st.floats(60, 100),
)
def test_any_finite_map_is_drawn_without_a_numerical_mishap(
    saliency: Map, kind: str, floor: float, clip: float
) -> None:
    with np.errstate(all="raise", under="ignore"):
        drawn = _drawn(saliency, kind, floor=floor, clip=clip)
    assert drawn.shape[0] == saliency.shape[-2]
    assert drawn.shape[1] == saliency.shape[-1] * (3 if kind == "side_by_side" else 1)


# --- Colormaps ---


@pytest.mark.parametrize(
    ("asked", "name"), [("viridis", "viridis"), ("VIRIDIS", "viridis"), ("rdbu_R", "RdBu_r"), ("GnBu", "GnBu")]
)
def test_colormaps_are_found_in_any_case(asked: str, name: str) -> None:
    assert check_colormap(asked) == name


def test_every_colormap_of_matplotlib_is_drawn() -> None:
    for name in matplotlib.colormaps:
        drawn = _drawn(_bump(), "heatmap", colormap=name.swapcase(), clip=100)
        assert np.abs(drawn[24, 32] - _colours(name, 1.0)).max() <= 1, name


def test_an_unknown_colormap_is_answered_with_near_ones() -> None:
    with pytest.raises(RequestError, match="'virdis'; did you mean 'viridis'") as refusal:
        check_colormap("virdis")
    assert (refusal.value.status, refusal.value.option) == (400, "colormap")


@given(st.text(max_size=300))
def test_any_name_is_found_or_refused_briefly(name: str) -> None:
    try:
        assert check_colormap(name).casefold() == name.casefold()
    except RequestError as refusal:
        assert refusal.option == "colormap"
        assert len(refusal.message) < 700


def test_matplotlib_is_imported_only_for_colours() -> None:
    code = "import sys, saliency.response; sys.exit('matplotlib' in sys.modules)"
    path = [entry for entry in sys.path if entry]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=False)
    assert done.returncode == 0

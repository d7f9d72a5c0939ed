"""Maps drawn over the picture: overlays, masks and contours."""

from __future__ import annotations

import numpy as np
import pytest

from tests.drawing import HEIGHT, WIDTH, bump, colourful, pixels_of
from torchserve_saliency.responses.rendering import LEVELS


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overlay_changes_only_the_large_values(sign: int) -> None:
    saliency = sign * bump(96, 128, at=(0.3, 0.3))
    plain, drawn = (pixels_of(saliency, "overlay", alpha=alpha) for alpha in (0.0, 0.8))
    change = np.abs(drawn - plain).max(-1)
    assert change[60:, 90:].max() == 0
    assert change[29, 38] > 60
    assert change[29, 38] == pytest.approx(change.max(), abs=40)


def test_the_opacity_of_an_overlay_is_alpha_times_the_value() -> None:
    saliency = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (300, 1))
    plain, drawn = (pixels_of(saliency, "overlay", alpha=alpha, clip=100, colormap="binary") for alpha in (0, 0.5))
    inner = (slice(None), slice(40, -40))  # the smoothing changes a ramp only at its ends
    value = saliency[inner][..., None]
    expected = plain[inner] * (1 - 0.5 * value) + 255 * (1 - value) * 0.5 * value
    assert np.abs(drawn[inner] - expected).max() < 4


def test_the_picture_below_an_overlay_is_greyer_and_darker() -> None:
    plain = pixels_of(np.zeros((HEIGHT, WIDTH), np.float32), "overlay")
    assert np.ptp(plain, axis=-1).mean() < 0.4 * np.ptp(colourful(), axis=-1).mean()
    assert plain.mean() == pytest.approx(0.8 * colourful().mean(), rel=0.05)


def test_a_signed_map_stays_signed_if_smoothing_removes_its_negative_values() -> None:
    saliency = bump()
    saliency[0, 0] = -0.01
    drawn = pixels_of(saliency, "overlay", alpha=1.0)
    assert drawn[24, 32, 0] > 200 > 50 > drawn[24, 32, 2], "the diverging colormap's red"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_masked_picture_is_dark_except_at_large_values(sign: int) -> None:
    drawn = pixels_of(sign * bump(96, 128, at=(0.3, 0.3)), "masked")
    picture = colourful(96, 128)
    np.testing.assert_array_equal(drawn[27:31, 36:41], picture[27:31, 36:41])
    assert (drawn[60:, 90:] < 0.35 * picture[60:, 90:]).all()
    steps = np.abs(np.diff(drawn.mean(-1), axis=1)).max()
    assert steps < 0.25 * picture.mean(), "a soft edge"


def test_contours_follow_the_levels_of_the_map() -> None:
    down, across = np.mgrid[:240, :240]
    distance = np.hypot(down - 120, across - 120)
    cone = np.maximum(1 - distance / 110, 0).astype(np.float32)
    picture = np.full((240, 240, 3), 128, np.uint8)
    drawn = pixels_of(cone, "contours", picture, clip=100)
    changed = (drawn != 128).any(-1)
    radii = [110 * (1 - level) for level in LEVELS]
    near = np.min([np.abs(distance - radius) for radius in radii], axis=0)
    assert near[changed].max() < 10, "smoothing rounds the tip of the cone a little"
    for radius in radii:
        assert (changed & (np.abs(distance - radius) < 8)).sum() > 2 * np.pi * radius, "closed"


def test_a_signed_map_has_contours_on_both_sides() -> None:
    saliency = bump(96, 128, at=(0.5, 0.25)) - bump(96, 128, at=(0.5, 0.75))
    drawn = pixels_of(saliency, "contours", np.full((96, 128, 3), 128, np.uint8))
    left, right = drawn[:, :64] - 128, drawn[:, 64:] - 128
    assert left[..., 0].sum() > left[..., 2].sum()
    assert right[..., 2].sum() > right[..., 0].sum()


def test_the_backdrop_of_an_overlay_may_keep_its_colours() -> None:
    """Issue 11, item 7: `backdrop=color`, for pictures whose colours are the evidence."""
    empty = np.zeros((HEIGHT, WIDTH), np.float32)
    np.testing.assert_array_equal(pixels_of(empty, "overlay", backdrop="color"), colourful())
    saliency = bump(96, 128, at=(0.3, 0.3))
    grey, colour = (pixels_of(saliency, "overlay", backdrop=backdrop) for backdrop in ("grey", "color"))
    np.testing.assert_array_equal(grey, pixels_of(saliency, "overlay"))
    np.testing.assert_array_equal(colour[70:, 100:], colourful(96, 128)[70:, 100:])
    assert np.abs(colour[29, 38] - grey[29, 38]).max() < np.abs(colour[90, 120] - grey[90, 120]).max()

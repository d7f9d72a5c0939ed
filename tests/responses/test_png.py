"""PNG files decode to the pixels that they were encoded from."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.responses.png import to_png

SHAPES = st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([(), (3,), (4,)])).map(
    lambda shape: (shape[0], shape[1], *shape[2])
)


def _pixels(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a picture file."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@given(arrays(np.uint8, SHAPES))
def test_pixels_are_decoded_exactly(pixels: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(_pixels(to_png(pixels)), pixels)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", (3,)), ("RGBA", (4,))])
def test_a_picture_is_encoded_like_its_pixels(mode: str, channels: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, *channels), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert image.mode == mode
    assert to_png(image) == to_png(pixels)


def test_a_view_of_an_array_is_encoded() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)[::2, ::-3]
    np.testing.assert_array_equal(_pixels(to_png(pixels)), pixels)


def test_a_noisy_map_takes_little_more_than_its_entropy() -> None:
    noise = np.minimum(np.random.default_rng(0).exponential(20, (224, 224)), 255).astype(np.uint8)
    shares = np.bincount(noise.ravel()) / noise.size
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() * noise.size / 8
    assert len(to_png(noise)) < 1.2 * entropy


def test_a_smooth_map_takes_a_fraction_of_its_pixels() -> None:
    down, across = np.mgrid[:224, :224] / 224
    smooth = (255 * np.sin(3 * down) * np.sin(3 * across)).astype(np.uint8)
    assert len(to_png(smooth)) < smooth.size / 3 < len(zlib.compress(smooth.tobytes(), 0)) / 3


def test_smooth_and_noisy_maps_are_decoded_exactly() -> None:
    down, across = np.mgrid[:224, :200]
    for pixels in ((down + across) // 2, (down * across) % 251, np.zeros_like(down), across % 2 * 255):
        np.testing.assert_array_equal(_pixels(to_png(pixels.astype(np.uint8))), pixels)

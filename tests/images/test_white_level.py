"""A8: the level of white in pictures of more than 8 bits, and the levels that reach the network."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.preprocessing import InputSpec, Picture, decode

LIMIT = 100_000


def ramp(levels: int, top: int = 4095) -> NDArray[np.uint16]:
    """Return 64 rows of `levels` equally spaced steps from 0 to `top`, a pixel each."""
    return np.repeat(np.linspace(0, top, levels).round().astype(np.uint16)[None], 64, axis=0)


def file(values: NDArray[np.generic], name: str) -> bytes:
    stream = BytesIO()
    Image.fromarray(values).save(stream, name)
    return stream.getvalue()


def spec(white: int, width: int, channels: int = 3) -> InputSpec:
    return InputSpec((64, width), (64, width), mean=(0.5,) * channels, std=(0.25,) * channels, white=white)


def distinct(picture: Picture) -> int:
    return len(picture.tensor[0, 5].unique())


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("levels", [64, 1000, 4096])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_of_12_bits_reaches_the_network(levels: int, name: str, channels: int) -> None:
    values = ramp(levels)
    picture = decode(file(values, name), spec(4095, levels, channels), LIMIT * 10)
    wanted = (values.astype(np.float32) / np.float32(4095) - np.float32(0.5)) / np.float32(0.25)
    assert distinct(picture) == levels
    np.testing.assert_array_equal(picture.tensor, np.repeat(wanted[None], channels, axis=0))


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_levels_are_kept_with_the_default_white(name: str) -> None:
    picture = decode(file(ramp(64), name), spec(65535, 64), LIMIT)
    assert distinct(picture) == 64
    assert float(picture.tensor.max()) == pytest.approx((4095 / 65535 - 0.5) / 0.25)


def test_the_picture_that_is_shown_has_the_white_of_the_input() -> None:
    picture = decode(file(ramp(64), "PNG"), spec(4095, 64), LIMIT)
    assert picture.pixels.shape == (64, 64, 3)
    assert (picture.pixels.min(), picture.pixels.max()) == (0, 255)
    assert picture.original.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture.original), picture.pixels)


def test_levels_above_white_are_white() -> None:
    picture = decode(file(ramp(64, 8190), "PNG"), spec(4095, 64, 1), LIMIT)
    assert float(picture.tensor.max()) == pytest.approx(2)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_white_counts_for_other_numbers(dtype: type[np.generic]) -> None:
    picture = decode(file(ramp(64).astype(dtype), "TIFF"), spec(4095, 64, 1), LIMIT)
    np.testing.assert_allclose(picture.tensor[0, 0, [0, -1]], [-2, 2])


def test_white_does_not_count_for_8_bits() -> None:
    bytes_ = (ramp(64) // 16).astype(np.uint8)
    first, second = (decode(file(bytes_, "PNG"), spec(white, 64), LIMIT).tensor for white in (4095, 65535))
    assert first.equal(second)


def test_a_transparent_level_is_white() -> None:
    stream = BytesIO()
    Image.fromarray(ramp(64)).save(stream, "PNG", transparency=0)
    picture = decode(stream.getvalue(), spec(4095, 64, 1), LIMIT)
    np.testing.assert_allclose(picture.tensor[0, 0, [0, 1, -1]], [2, (65 / 4095 - 0.5) / 0.25, 2], rtol=1e-6)


def packed_tiff(values: NDArray[np.uint16]) -> bytes:
    """Return a TIFF file of 12 bits per pixel, as scanners write it: two pixels are three bytes."""
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    parts = np.stack((first >> 4, (first & 15) << 4 | second >> 8, second & 255), axis=-1)
    data = parts.astype(np.uint8).tobytes()
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, len(data)))
    entries = b"".join(
        tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, value in tags
    )
    directory = len(tags).to_bytes(2, "little") + entries + bytes(4)
    return b"II*\0" + (8 + len(data)).to_bytes(4, "little") + data + directory


def test_a_tiff_of_12_bits_says_what_white_is() -> None:
    picture = decode(packed_tiff(ramp(64)), spec(65535, 64, 1), LIMIT)
    np.testing.assert_allclose(picture.tensor[0, 0, [0, -1]], [-2, 2])
    assert distinct(picture) == 64


def colour_png() -> bytes:
    """Return a PNG of 16 bits per colour, made from its chunks."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = np.repeat(ramp(64)[..., None], 3, axis=2).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_are_refused_if_white_is_not_65535() -> None:
    """Pillow reads 8 of the 16 bits, and a nearly black picture would be answered."""
    assert decode(colour_png(), spec(65535, 64), LIMIT).tensor.shape == (3, 64, 64)
    with pytest.raises(RequestError, match=r"16 bits per colour.*white level of this model \(4095\)") as caught:
        decode(colour_png(), spec(4095, 64), LIMIT)
    assert caught.value.status == 422

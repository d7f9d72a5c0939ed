"""Conversion of every Pillow mode to the channels of a network."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.decoding import read
from torchserve_saliency.images.pixel_modes import CHANNELS, to_channels

OPAQUE = {"RGB": 0, "RGBX": 0, "RGBA": 0, "RGBa": 0, "CMYK": 1, "YCbCr": 3, "HSV": 8, "LAB": 8, "P": 40, "PA": 40}
GREY = {"L": 0, "LA": 0, "La": 0, "I": 0, "F": 0, "I;16": 1, "I;16B": 1, "I;16L": 1}


def colours() -> Image.Image:
    """Return a picture of smooth colours that a palette of 256 colours can approximate."""
    y, x = np.mgrid[0:24, 0:32]
    return Image.fromarray(np.stack((60 + 4 * x, 200 - 5 * y, 90 + 2 * x + 2 * y), axis=-1).astype(np.uint8))


def in_mode(mode: str) -> Image.Image:
    """Return the picture of `colours` in a mode, opaque; grey if the mode has no colours."""
    image = colours()
    grey = np.asarray(image.convert("L"))
    if mode.startswith("I;16"):
        deep = (grey.astype(np.uint16) * 257).astype(">u2" if mode == "I;16B" else "<u2")
        return Image.frombytes(mode, image.size, deep.tobytes())
    if mode in ("I", "F"):
        return Image.fromarray(grey.astype(np.int32 if mode == "I" else np.float32))
    if mode == "La":
        return image.convert("LA").convert("La")
    if mode == "RGBa":
        return image.convert("RGBA").convert("RGBa")
    if mode == "PA":
        return image.convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
    return image.convert(mode, palette=Image.Palette.ADAPTIVE)


def values(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image).astype(np.int16)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("mode", [*OPAQUE, *GREY])
def test_every_mode_is_converted_to_the_networks_channels(mode: str, channels: int) -> None:
    if mode == "LAB" and not features.check("littlecms2"):
        pytest.skip("this Pillow is built without LittleCMS, which knows LAB")
    image = in_mode(mode)
    assert image.mode == mode
    wanted = colours().convert("L") if mode in GREY else colours()
    converted = to_channels(image, channels)
    assert converted.mode == CHANNELS[channels]
    difference = np.abs(values(converted) - values(wanted.convert(CHANNELS[channels])))
    assert difference.max() <= {**OPAQUE, **GREY}[mode]


@pytest.mark.parametrize("channels", CHANNELS)
def test_one_bit_is_black_and_white(channels: int) -> None:
    image = Image.fromarray(np.eye(8, dtype=np.uint8) * 255).convert("1")
    first = values(to_channels(image, channels)).reshape(8, 8, channels)[..., 0]
    assert (first == np.eye(8) * 255).all()


@pytest.mark.parametrize("channels", CHANNELS)
def test_an_image_in_the_right_mode_is_not_copied(channels: int) -> None:
    image = colours().convert(CHANNELS[channels])
    assert to_channels(image, channels) is image


def half_clear(mode: str) -> Image.Image:
    """Return a picture with black of half opacity on the left and opaque grey on the right."""
    alpha = np.full((4, 4), 255, np.uint8)
    alpha[:, :2] = 128
    grey = np.where(alpha == 255, 100, 0).astype(np.uint8)
    image = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    return {
        "LA": lambda: image,
        "La": lambda: image.convert("La"),
        "RGBA": lambda: image.convert("RGBA"),
        "RGBa": lambda: image.convert("RGBA").convert("RGBa"),
    }[mode]()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa"])
def test_transparency_is_composited_on_white(mode: str, channels: int) -> None:
    seen = values(to_channels(half_clear(mode), channels)).reshape(4, 4, channels)
    assert np.abs(seen[:, :2] - 127).max() <= 1
    assert (seen[:, 2:] == 100).all()


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa"])
def test_a_network_with_four_channels_gets_alpha(mode: str) -> None:
    seen = values(to_channels(half_clear(mode), 4))
    assert (seen[:, :2] == (0, 0, 0, 128)).all()
    assert (seen[:, 2:] == (100, 100, 100, 255)).all()


def saved(image: Image.Image, name: str, **options: object) -> Image.Image:
    stream = BytesIO()
    image.save(stream, name, **options)
    return read(stream.getvalue(), 10_000)


def clear_red() -> Image.Image:
    """Return a palette picture of red (index 0, on the left) and blue (index 1)."""
    image = Image.fromarray(np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 4, axis=0), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    return image


@pytest.mark.parametrize(
    ("name", "transparency"),
    [("PNG", 0), ("PNG", b"\0\xff"), ("PNG", None), ("GIF", 0), ("GIF", None)],
)
def test_a_transparent_palette_colour_is_composited_on_white(name: str, transparency: int | bytes | None) -> None:
    options = {} if transparency is None else {"transparency": transparency}
    seen = values(to_channels(saved(clear_red(), name, **options), 3))
    assert (seen[:, :2] == ((255, 0, 0) if transparency is None else (255, 255, 255))).all()
    assert (seen[:, 2:] == (0, 0, 255)).all()


def test_a_palette_with_alpha_is_composited_on_white() -> None:
    image = clear_red()
    image.putpalette([255, 0, 0, 0, 0, 0, 255, 255], "RGBA")
    seen = values(to_channels(image, 3))
    assert (seen[:, :2] == 255).all()
    assert (seen[:, 2:] == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("image", "key"),
    [
        (clear_red().convert("RGB"), (255, 0, 0)),
        (Image.fromarray(np.array([[9, 9, 0, 0]] * 4, np.uint8)), 9),
        (Image.fromarray(np.array([[9, 9, 0, 0]] * 4, np.uint16)), 9),
    ],
    ids=["RGB", "L", "16 bits"],
)
def test_a_transparent_png_colour_is_composited_on_white(image: Image.Image, key: int | tuple[int, int, int]) -> None:
    seen = values(to_channels(saved(image, "PNG", transparency=key), 1))
    assert (seen[:, :2] == 255).all()
    assert (seen[:, 2:] < 100).all()
    opacity = values(to_channels(saved(image, "PNG", transparency=key), 4))[..., 3]
    assert (opacity == [[0, 0, 255, 255]] * 4).all()


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bits_are_divided_by_257(name: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    assert values(to_channels(saved(Image.fromarray(deep), name), 1)).tolist() == [[0, 0, 1, 1, 128, 255]]


def test_dark_sixteen_bits_stay_dark() -> None:
    deep = Image.fromarray(np.array([[0, 100, 255]], np.uint16))
    for image in (deep, saved(deep, "PNG"), saved(deep, "TIFF")):
        assert values(to_channels(image, 1)).max() == 1


@pytest.mark.parametrize(
    ("integers", "wanted"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([-5, 100, 255], [0, 100, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-(2**31), 257, 2**31 - 1], [0, 1, 255]),
    ],
)
def test_32_bit_integers(integers: list[int], wanted: list[int]) -> None:
    assert values(to_channels(Image.fromarray(np.array([integers], np.int32)), 1)).tolist() == [wanted]


@pytest.mark.parametrize(
    ("reals", "wanted"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([-1, 0.2, 0.4], [0, 51, 102]),
        ([0, 100.4, 300], [0, 100, 255]),
        ([float("nan"), float("inf"), 0.6], [0, 0, 153]),
        ([float("nan"), float("-inf"), float("inf")], [0, 0, 0]),
    ],
)
def test_floating_point(reals: list[float], wanted: list[int]) -> None:
    assert values(to_channels(Image.fromarray(np.array([reals], np.float32)), 1)).tolist() == [wanted]


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_other_counts_of_channels_are_refused(channels: int) -> None:
    with pytest.raises(RequestError, match=f"{channels} channels") as caught:
        to_channels(colours(), channels)
    assert caught.value.status == 422

"""Pictures as a browser shows them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.web.previews import EXACT, LARGEST, MOST_PIXELS, SMALLEST, plain_kind, preview


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes, side: int = 1024) -> Image.Image:
    shown, kind = preview(data, side)
    image = Image.open(BytesIO(shown))
    image.load()
    assert kind == f"image/{str(image.format).lower()}"
    assert image.mode == "RGB"
    return image


def png_header(width: int, height: int) -> bytes:
    """Return the beginning of a PNG file that announces a size, up to its first pixel."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\7IDAT"


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_small_picture_is_sent_without_loss(kind: str) -> None:
    image = noise(30, 40)
    assert np.array_equal(np.asarray(decoded(encoded(image, kind, lossless=True))), np.asarray(image))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_plain_file_is_sent_as_it_is(kind: str) -> None:
    data = encoded(noise(600, 800), kind)
    assert preview(data, 1024) == (data, f"image/{kind.lower()}")
    assert preview(data, 112)[0] != data
    assert plain_kind(encoded(noise(1500, 1500), kind)) is None
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert plain_kind(encoded(noise(6, 8), kind, icc_profile=profile)) is None
    assert plain_kind(encoded(noise(6, 8).convert("L"), kind)) == f"image/{kind.lower()}"


def test_a_file_that_browsers_show_differently_is_made_anew() -> None:
    other = {
        "transparent colour": encoded(noise(6, 8), transparency=(1, 2, 3)),
        "alpha": encoded(noise(6, 8).convert("RGBA")),
        "palette": encoded(noise(6, 8).quantize(8)),
        "16 bits": encoded(Image.fromarray(np.zeros((6, 8), np.uint16))),
        "animation": encoded(noise(6, 8), save_all=True, append_images=[noise(6, 8).rotate(90)], duration=100),
        "CMYK": encoded(noise(6, 8).convert("CMYK"), "JPEG"),
        "broken": encoded(noise(6, 8))[:20],
        "nothing": b"",
    }
    assert {name: plain_kind(data) for name, data in other.items()} == dict.fromkeys(other)


@pytest.mark.parametrize(("width", "height", "side"), [(900, 300, 600), (300, 900, 600), (600, 600, 112)])
def test_a_larger_picture_keeps_its_shape(width: int, height: int, side: int) -> None:
    shown = decoded(encoded(Image.new("RGB", (width, height)), "WEBP"), side)
    assert shown.format == "JPEG"
    assert max(shown.size) == side
    assert shown.width * height == pytest.approx(shown.height * width, rel=0.02)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_exif_orientation_is_applied(kind: str) -> None:
    image = Image.new("RGB", (20, 10), "red")
    image.paste("blue", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    shown = decoded(encoded(image, kind, exif=exif))
    assert shown.size == (10, 20)
    pixels = np.asarray(shown).astype(int)
    np.testing.assert_allclose(pixels[2, 5], (0, 0, 255), atol=8)
    np.testing.assert_allclose(pixels[17, 5], (255, 0, 0), atol=8)
    assert 0x0112 not in shown.getexif()


def test_sixteen_bits_become_eight() -> None:
    image = Image.fromarray(np.array([[0, 65535], [32896, 257]], np.uint16))
    assert np.asarray(decoded(encoded(image)))[..., 0].tolist() == [[0, 255], [128, 1]]


def test_every_mode_is_shown_in_rgb() -> None:
    palette = Image.new("RGB", (4, 4), (200, 30, 40)).quantize(8)
    assert decoded(encoded(palette)).getpixel((1, 1)) == (200, 30, 40)
    cmyk = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    red, green, blue = np.asarray(decoded(encoded(cmyk, "JPEG")))[2, 2]
    assert red > 200
    assert max(green, blue) < 60
    for mode in ("1", "L", "LA", "RGBA", "F"):
        assert decoded(encoded(Image.new(mode, (4, 4)), "TIFF")).size == (4, 4)


@pytest.mark.parametrize("data", [b"no picture", b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7"])
def test_a_file_that_is_no_picture_is_415(data: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        preview(data, 100)
    assert caught.value.status == 415


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_truncated_picture_is_415(kind: str) -> None:
    data = encoded(noise(64, 64), kind)
    with pytest.raises(RequestError, match="truncated") as caught:
        preview(data[: len(data) // 2], 100)
    assert caught.value.status == 415


def test_a_picture_of_60_megapixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(RequestError, match="60,000,000 pixels, more than the limit of 50,000,000") as caught:
        preview(png_header(10_000, 6_000), 100)
    assert caught.value.status == 413
    with pytest.raises(RequestError) as caught:
        preview(png_header(100_000, 100_000), 100)
    assert caught.value.status == 413
    assert MOST_PIXELS == 50_000_000


def test_the_size_that_can_be_asked_for_is_bounded() -> None:
    data = encoded(Image.new("RGB", (3000, 30)), "WEBP")
    assert max(decoded(data, 0).size) == SMALLEST
    assert max(decoded(data, -5).size) == SMALLEST
    assert max(decoded(data, 10**9).size) == LARGEST
    assert decoded(encoded(Image.new("RGB", (EXACT, 4)), "WEBP"), EXACT + 1).format == "PNG"
    assert decoded(encoded(Image.new("RGB", (EXACT + 1, 4)), "WEBP"), EXACT + 2).format == "JPEG"


def test_a_picture_is_never_enlarged() -> None:
    assert decoded(encoded(Image.new("RGB", (5, 3))), 400).size == (5, 3)

"""The formats that depend on the machine: AVIF and HEIC (row D2)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, features

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images import image_formats
from torchserve_saliency.images.decoding import read

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
LIMIT = 10_000
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")


@pytest.fixture(autouse=True)
def _forget_formats() -> Iterator[None]:
    image_formats.image_formats.cache_clear()
    yield
    image_formats.image_formats.cache_clear()


def avif(**options: object) -> bytes:
    stream = BytesIO()
    picture().save(stream, "AVIF", quality=100, subsampling="4:4:4", **options)
    return stream.getvalue()


def picture() -> Image.Image:
    y, x = np.mgrid[0:24, 0:40]
    return Image.fromarray(np.stack((6 * x, 10 * y, 100 + 0 * x), axis=-1).astype(np.uint8))


def refusal(data: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(data, LIMIT)
    return caught.value


@needs_avif
def test_avif_is_read_if_pillow_decodes_it() -> None:
    """D2: AVIF."""
    image = read(avif(), LIMIT)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(picture())).max() <= 6


@needs_avif
def test_avif_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read(avif(exif=exif.tobytes()), LIMIT)
    wanted = np.asarray(picture().transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(image.convert("RGB")) - wanted).max() <= 6


@needs_avif
@pytest.mark.parametrize("part", [0.3, 0.8])
def test_truncated_avif_is_refused(part: float) -> None:
    data = avif()
    error = refusal(data[: int(part * len(data))])
    assert (error.status, error.kind) == (415, "TruncatedImageException")
    assert "begins as AVIF" in error.message


@needs_avif
def test_the_pixels_of_avif_are_limited() -> None:
    with pytest.raises(RequestError, match="40 x 24 = 960 pixels") as caught:
        read(avif(), 959)
    assert caught.value.status == 413


def test_without_an_avif_decoder_the_accepted_formats_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """D2: a server whose Pillow has no AVIF."""
    monkeypatch.setattr(image_formats, "_decodes_avif", lambda: False)
    monkeypatch.setattr(image_formats, "_registers_heic", lambda: False)
    error = refusal(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(40))
    assert (error.status, error.kind) == (415, "UnsupportedImageException")
    assert "looks like AVIF, which is not accepted here" in error.message
    assert error.message.endswith("accepted are JPEG, PNG, WebP, BMP, GIF (its first frame) and TIFF")


def test_without_pillow_heif_heic_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """D2: HEIC without the package."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refusal(HEIC)
    assert error.status == 415
    assert "looks like HEIC, which is not accepted here" in error.message
    assert image_formats.accepted_formats() in error.message


def heic(**options: object) -> bytes:
    """Return a HEIC file of the picture, or skip the test."""
    package = pytest.importorskip("pillow_heif", reason="the test needs the package pillow-heif (extra heic)")
    package.register_heif_opener()
    stream = BytesIO()
    picture().save(stream, "HEIF", quality=100, chroma=444, **options)
    return stream.getvalue()


def test_heic_is_read_if_pillow_heif_is_installed() -> None:
    """D2: HEIC with the package."""
    image = read(heic(), LIMIT)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(picture())).max() <= 6
    assert image_formats.accepted_formats().endswith("HEIC")


def test_heic_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read(heic(exif=exif.tobytes()), LIMIT)
    wanted = np.asarray(picture().transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(image.convert("RGB")) - wanted).max() <= 6


def test_a_truncated_heic_is_refused() -> None:
    data = heic()
    assert refusal(data[: len(data) // 2]).kind == "TruncatedImageException"


@pytest.mark.parametrize(
    ("brands", "wanted"),
    [
        (b"avif\0\0\0\0mif1avif", "AVIF"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"avis\0\0\0\0avifavis", "AVIF"),
        (b"heic\0\0\0\0mif1heic", "HEIF"),
        (b"mif1\0\0\0\0mif1heic", "HEIF"),
        (b"hevc\0\0\0\0msf1hevc", "HEIF"),
    ],
)
def test_avif_and_heic_are_told_apart_by_their_brands(
    brands: bytes, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in ("_decodes_avif", "_registers_heic"):
        monkeypatch.setattr(image_formats, known, lambda: True)
    data = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + b"\0\0\0\x20metaavifheic"
    assert image_formats.boxed_formats(data) == (wanted,)

"""Decoding of image files: formats, orientations, limits, and errors for any other data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.decoding import read
from torchserve_saliency.images.image_formats import PLAIN_FORMATS, accepted_formats
from torchserve_saliency.images.preprocessing import InputSpec, Picture, decode

LIMIT = 1_000_000
ORIENTATION = 0x0112


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Return a smooth picture without symmetry, so that all its rotations and reflections differ."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (255 * x / width, 255 * y / height, 255 * (x * y) / (width * height))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def levels(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image.convert("RGB")).astype(np.int16)


def samples() -> Mapping[str, bytes]:
    image = scene()
    return MappingProxyType(
        {
            "JPEG": encoded(image, "JPEG", quality=95, subsampling=0),
            "JPEG progressive": encoded(image, "JPEG", quality=95, subsampling=0, progressive=True),
            "JPEG CMYK": encoded(image.convert("CMYK"), "JPEG", quality=95, subsampling=0),
            "MPO": encoded(image, "MPO", save_all=True, append_images=[image.rotate(180)], quality=95),
            "PNG": encoded(image, "PNG"),
            "WebP": encoded(image, "WEBP", lossless=True),
            "WebP lossy": encoded(image, "WEBP", quality=95),
            "BMP": encoded(image, "BMP"),
            "GIF": encoded(image, "GIF"),
            "TIFF": encoded(image, "TIFF"),
            "TIFF LZW": encoded(image, "TIFF", compression="tiff_lzw"),
            "TIFF deflate": encoded(image, "TIFF", compression="tiff_adobe_deflate"),
        }
    )


SAMPLES = samples()
LOSSLESS = ("PNG", "WebP", "BMP", "TIFF", "TIFF LZW", "TIFF deflate")


def refusal(data: bytes, limit: int = LIMIT) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode(data, InputSpec(), limit)
    return caught.value


def png_header(width: int, height: int) -> bytes:
    """Return a PNG file of few bytes with this size in its header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_read(name: str) -> None:
    image = read(SAMPLES[name], LIMIT)
    difference = np.abs(levels(image) - levels(scene()))
    assert image.size == (48, 32)
    assert difference.max() <= (0 if name in LOSSLESS else 40)
    assert difference.mean() <= (0 if name in LOSSLESS else 4)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_of_bytes_is_read(kind: type[bytes]) -> None:
    assert read(kind(SAMPLES["PNG"]), LIMIT).size == (48, 32)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_read(name: str) -> None:
    red, blue = (Image.new("RGB", (20, 10), colour) for colour in ("red", "blue"))
    data = encoded(red, name, save_all=True, append_images=[blue])
    assert read(data, LIMIT).convert("RGB").getpixel((5, 5)) == pytest.approx((255, 0, 0), abs=8)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, name: str) -> None:
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # subsampling is used only by JPEG, and lossless only by WebP
    data = encoded(scene(), name, exif=exif.tobytes(), quality=95, subsampling=0, lossless=True)
    upright = read(data, LIMIT)
    wanted = turns[orientation](levels(scene()))
    assert upright.size == (wanted.shape[1], wanted.shape[0])
    assert np.abs(levels(upright) - wanted).max() <= (20 if name == "JPEG" else 0)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0nonsense that no reader understands",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
    ],
    ids=["empty", "header only", "offset outside", "too many tags", "nonsense", "text", "orientation 99"],
)
@pytest.mark.filterwarnings("ignore")
def test_broken_exif_does_not_fail_the_picture(exif: bytes, name: str) -> None:
    assert read(encoded(scene(), name, exif=exif), LIMIT).size == (48, 32)


@pytest.mark.parametrize("name", ["ICO", "PPM", "TGA", "PCX"])
def test_other_formats_are_refused(name: str) -> None:
    error = refusal(encoded(scene(), name))
    assert (error.status, error.kind) == (415, "UnsupportedImageException")
    assert accepted_formats() in error.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the data is empty"),
        (b"hello", "the data is not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "looks like HEIC"),
        (b"%PDF-1.7\n%", "looks like PDF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "looks like SVG"),
    ],
)
def test_the_error_names_data_that_is_not_a_picture(data: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchserve_saliency.images.image_formats.image_formats", lambda: PLAIN_FORMATS)
    error = refusal(data)
    assert (error.status, error.kind) == (415, "UnsupportedImageException")
    assert message in error.message


@pytest.mark.parametrize("part", [0.9, 0.5, 0.2])
@pytest.mark.parametrize(
    "name", [name for name in SAMPLES if name != "MPO"]
)  # a truncated MPO still has its first frame
@pytest.mark.filterwarnings("ignore")
def test_truncated_pictures_are_refused(name: str, part: float) -> None:
    data = SAMPLES[name]
    error = refusal(data[: int(part * len(data))])
    assert (error.status, error.kind) == (415, "TruncatedImageException")
    assert f"begins as {name.split()[0]}" in error.message


def test_the_limit_counts_pixels() -> None:
    assert read(SAMPLES["PNG"], 48 * 32).size == (48, 32)
    error = refusal(SAMPLES["PNG"], 48 * 32 - 1)
    assert (error.status, error.kind) == (413, "PictureTooLargeException")
    assert "48 x 32 = 1,536 pixels, more than the limit of 1,535" in error.message


@pytest.mark.parametrize("size", [(8_000, 8_000), (10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused_by_their_header(size: tuple[int, int]) -> None:
    assert refusal(png_header(*size), 50_000_000).status == 413


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_if_warnings_are_errors() -> None:
    assert refusal(png_header(10_000, 10_000)).status == 413


def test_a_side_beyond_pillows_coordinates_is_refused() -> None:
    error = refusal(png_header(2**24 + 1, 1), 50_000_000)
    assert error.status == 413
    assert "no side may have more than 16,777,216" in error.message


@pytest.mark.parametrize("size", [(0, 0), (0, 40), (60, 0)])
def test_pictures_without_pixels_are_refused(size: tuple[int, int]) -> None:
    bitmap = bytearray(SAMPLES["BMP"])
    bitmap[18:26] = struct.pack("<ii", *size)
    for data in (png_header(*size), bytes(bitmap)):
        assert refusal(data).status == 415


def test_global_settings_of_pillow_are_unchanged() -> None:
    before = Image.MAX_IMAGE_PIXELS
    read(SAMPLES["PNG"], 48 * 32)
    refusal(SAMPLES["PNG"], 10)
    assert before == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def answer(data: bytes) -> Picture | RequestError:
    try:
        return decode(data, InputSpec(size=(16, 16), resize=(20,)), LIMIT)
    except RequestError as error:
        return error


def check(answered: Picture | RequestError) -> None:
    if isinstance(answered, RequestError):
        assert answered.status in (413, 415)
        assert "/" not in answered.message
        assert " at 0x" not in answered.message
    else:
        assert answered.tensor.shape == (3, 16, 16)
        assert answered.tensor.isfinite().all()


@given(st.binary(max_size=200), st.sampled_from([b"", *(data[:16] for data in SAMPLES.values())]))
@settings(deadline=None, max_examples=300)
@pytest.mark.filterwarnings("ignore")
def test_random_bytes_give_an_error_or_a_picture(data: bytes, start: bytes) -> None:
    check(answer(start + data))


@pytest.mark.parametrize("name", SAMPLES)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0.5, 1) | st.just(1.0),
    st.booleans(),
)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures_give_an_error_or_a_picture(
    name: str, changes: list[tuple[float, int]], part: float, in_header: bool
) -> None:
    data = bytearray(SAMPLES[name])
    for place, value in changes:
        data[int(place * (min(len(data), 300) if in_header else len(data)))] = value
    check(answer(bytes(data[: int(part * len(data))])))

"""E2: pictures as programs hold them, each read to the same pixels, or refused with a message that helps."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.decoding import read
from torchserve_saliency.images.picture_kinds import PictureTypeError, read_kind, to_file

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def png(values: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def pixels(picture: object) -> np.ndarray[Any, Any]:
    """Return the pixels that a picture is read to."""
    found = read_kind(picture)
    return np.asarray(read(found, 1 << 20) if isinstance(found, bytes) else found)


@pytest.mark.parametrize(
    "picture",
    [
        RGB,
        RGB[:, ::-1][:, ::-1],  # not contiguous
        RGB.astype(np.int64),
        RGB.astype(np.uint16),
        RGB / 255,
        (RGB / 255).astype(np.float32),
        (RGB / 255).astype(np.float16).astype(np.float64).round(4),
        np.asfortranarray(RGB),
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1)[None],
        Image.fromarray(RGB),
        png(RGB),
        bytearray(png(RGB)),
        memoryview(png(RGB)),
        io.BytesIO(png(RGB)),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'dtype', '')}",
)
def test_the_same_picture_in_every_kind(picture: object) -> None:
    assert np.abs(pixels(picture).astype(int) - RGB).max() <= (
        1 if "float" in str(getattr(picture, "dtype", "")) else 0
    )


def test_a_path_and_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(RGB))
    with path.open("rb") as file:
        for picture in (path, str(path), file):
            np.testing.assert_array_equal(pixels(picture), RGB)
    written = io.BytesIO()
    written.write(png(RGB))  # its position is at the end
    np.testing.assert_array_equal(pixels(written), RGB)
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(png(RGB))
        spooled.seek(0)
        np.testing.assert_array_equal(pixels(spooled), RGB)


@pytest.mark.parametrize(
    "picture",
    [GREY, GREY[..., None], GREY / 255, torch.from_numpy(GREY)[None]],
    ids=["[H, W]", "[H, W, 1]", "float", "tensor [1, H, W]"],
)
def test_grey_pictures(picture: object) -> None:
    np.testing.assert_array_equal(pixels(picture), GREY)


def test_an_array_of_another_library() -> None:
    class Other:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray[Any, Any]:
            return RGB

    np.testing.assert_array_equal(pixels(Other()), RGB)


def test_four_channels_and_16_bits() -> None:
    four = np.dstack([RGB, GREY])
    assert read_kind(four).mode == "RGBA"  # type: ignore[union-attr]
    deep = GREY.astype(np.uint16) * 257
    for one in (deep, deep.astype(">u2"), (deep // 257).astype(np.uint16)):
        image = read_kind(one)
        assert isinstance(image, Image.Image)
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), one)


def test_a_float_tensor_is_the_networks_input_as_it_is() -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    for one in (x, x[None], x.half().float(), x.detach().bfloat16()):
        found = read_kind(one)
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        assert found.shape == (3, 4, 5)
    np.testing.assert_array_equal(read_kind(x), x.detach().float().numpy())


def test_the_orientation_of_a_pillow_image_is_that_of_its_file() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(file, "JPEG", exif=exif, quality=100)
    image = Image.open(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(pixels(image), pixels(file.getvalue()))
    assert pixels(image).shape == (7, 5, 3)
    assert image.size == (7, 5)  # the user's own image is not changed


TEXTS = np.array([["x", "y"]])


@pytest.mark.parametrize("picture", [5, 1.5, object(), {"a": 1}, [RGB], (RGB,), TEXTS, RGB > 4, RGB * 1j])
def test_another_type_is_a_type_error_and_a_request_error(picture: object) -> None:
    with pytest.raises(PictureTypeError) as caught:
        read_kind(picture)
    assert isinstance(caught.value, TypeError)
    assert (caught.value.status, caught.value.option) == (400, "data")


def test_a_text_file_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="mode 'rb'"):
        read_kind(io.StringIO("x"))


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (RGB.transpose(2, 0, 1), r"transpose\(1, 2, 0\)"),
        (np.zeros((3, 8, 8), np.float32), r"torch\.from_numpy"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"permute\(2, 0, 1\)"),
        (np.float32(3), "height, width"),
        (RGB[None], "explain_many"),
        (RGB[..., :2], "height, width"),
        (RGB[0, 0], "height, width"),
        (RGB[:0], "height, width"),
        (RGB.astype(np.float32), "uint8 for values from 0 to 255"),
        (RGB / 255 - 0.5, "from 0 to 1"),
        (np.full((3, 3), np.nan), "from 0 to 1"),
        (RGB.astype(np.int32) * 20, "from 0 to 255"),
        (torch.zeros(2, 3, 4, 4), "explain_many"),
        (torch.zeros(4, 4), r"\[C, H, W\]"),
        (torch.full((3, 4, 4), torch.inf), "finite"),
        (torch.zeros(5, 4, 4, dtype=torch.uint8), "uint8 tensor"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "explain_many"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "float .* or uint8"),
        ("https://example.org/owl.jpg", "download it"),
        (Image.new("RGB", (0, 4)), "empty"),
    ],
)
def test_another_shape_or_range_is_refused_with_a_reason(picture: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        read_kind(picture)


def test_a_truncated_or_closed_pillow_image_is_refused() -> None:
    noise = png(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    truncated, closed = Image.open(io.BytesIO(noise[:-2000])), Image.open(io.BytesIO(noise))
    closed.close()
    for image in (truncated, closed):
        with pytest.raises(RequestError) as caught:
            read_kind(image)
        assert caught.value.status == 415


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"])
def test_an_image_becomes_a_file_without_loss(mode: str) -> None:
    image = Image.fromarray(GREY.astype(np.uint16)) if mode == "I;16" else Image.fromarray(RGB).convert(mode)
    again = Image.open(io.BytesIO(to_file(image)))
    np.testing.assert_array_equal(np.asarray(again.convert(mode)), np.asarray(image))

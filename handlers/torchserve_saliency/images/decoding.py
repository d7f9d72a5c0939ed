"""Decoding of untrusted bytes to an upright Pillow image, or a RequestError if that fails."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from torchserve_saliency.errors import RequestError

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # phones' MPO is opened by the JPEG plugin
ACCEPTED = "accepted are JPEG, PNG, WebP, BMP, GIF (its first frame) and TIFF"
MAGIC_NUMBERS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
)
REFUSED_MAGIC_NUMBERS = (
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC or AVIF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "ICO"),
)
LONGEST_SIDE = 1 << 24  # Pillow resizes in float32 coordinates, which are not exact above this
ORIENTATION = 0x0112
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(data: bytes, max_pixels: int) -> Image.Image:
    """Return the first frame of an image file, upright, in its own Pillow mode.

    Raise RequestError 413 if the header announces more than `max_pixels`, before any pixel is decoded, and 415 if the
    data is truncated, corrupt or not in an accepted format. Pillow's own limit, twice `PIL.Image.MAX_IMAGE_PIXELS`,
    also applies: it belongs to the whole process and is left unchanged.
    """
    image = _open(data)
    _check_size(image, max_pixels)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise almost anything on broken data
        raise _truncated_error(_detect_format(data, MAGIC_NUMBERS) or "a picture") from error
    return _apply_orientation(image)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = "the picture has more pixels than can be decoded safely"
        raise RequestError(413, "PictureTooLargeException", message) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _unsupported_error(data) from error


def _unsupported_error(data: bytes) -> RequestError:
    """Return the 415 for data that Pillow cannot open; its message names the format if the first bytes show it."""
    accepted, other = _detect_format(data, MAGIC_NUMBERS), _detect_format(data, REFUSED_MAGIC_NUMBERS)
    if accepted:
        return _truncated_error(accepted)
    reason = f"looks like {other}, which is not accepted" if other else "is not a picture" if data else "is empty"
    return RequestError(415, "UnsupportedImageException", f"the data {reason}; {ACCEPTED}")


def _truncated_error(name: str) -> RequestError:
    message = f"the data begins as {name}, but it is truncated, broken or of an unsupported kind"
    return RequestError(415, "TruncatedImageException", message)


def _detect_format(data: bytes, magic_numbers: tuple[tuple[int, bytes, str], ...]) -> str | None:
    names = (name for offset, magic, name in magic_numbers if data[offset : offset + len(magic)] == magic)
    return next(names, None)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        size = f"{width} x {height} = {width * height:,} pixels"
        message = f"the picture has {size}, more than the limit of {max_pixels:,}"
        raise RequestError(413, "PictureTooLargeException", message)
    if max(width, height) > LONGEST_SIDE:
        message = f"the picture is {width} x {height} pixels; no side may have more than {LONGEST_SIDE:,}"
        raise RequestError(413, "PictureTooLargeException", message)
    if min(width, height) < 1:
        message = f"the picture is empty: {width} x {height} pixels"
        raise RequestError(415, "UnsupportedImageException", message)


def _apply_orientation(image: Image.Image) -> Image.Image:
    """Return the image with its EXIF orientation applied, or unchanged if the EXIF data is missing or corrupt.

    `ImageOps.exif_transpose` is not used: it also copies upright pictures, and fails if it cannot rewrite the EXIF.
    """
    try:
        transpose = TRANSPOSES.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return image
    return image if transpose is None else image.transpose(transpose)

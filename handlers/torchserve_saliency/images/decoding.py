"""Decoding of untrusted bytes to an upright Pillow image, or a RequestError if that fails."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.image_formats import PLAIN_FORMATS, accepted_formats, boxed_formats
from torchserve_saliency.images.pixel_modes import WHITE, bits_per_channel, is_deep

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
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC or AVIF"),
    (4, b"ftypmsf1", "HEIC or AVIF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "ICO"),
)
LONGEST_SIDE = 1 << 24  # Pillow resizes in float32 coordinates, which are not exact above this
ORIENTATION = 0x0112
BOX = b"ftyp"  # at position 4 of files that consist of boxes, such as AVIF and HEIC
PNG_DEPTH = 24  # the position of the bits per channel in a PNG file
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
        name = _detect_format(data, MAGIC_NUMBERS) or _detect_format(data, REFUSED_MAGIC_NUMBERS)
        raise _truncated_error(name or "a picture") from error
    return upright(image)


def check_white(image: Image.Image, data: bytes, white: int) -> None:
    """Raise RequestError 422 if the white level of the archive cannot be applied to a picture.

    Pillow keeps only the upper 8 of the 16 bits of colours, so that a white of 12 bits would leave 4 bits of them.
    """
    if white == WHITE or is_deep(image) or _stored_bits(image, data) <= 8:
        return
    message = (
        f"the picture has 16 bits per colour, of which 8 are read; the white level of this model ({white}) needs a "
        "grey picture of 16 bits, or any picture of 8 bits"
    )
    raise RequestError(422, "UnsupportedDepthException", message, "data")


def _stored_bits(image: Image.Image, data: bytes) -> int:
    """Return the bits per channel that the header of a PNG or TIFF file states, else 8."""
    if data[:4] == b"\x89PNG":
        return data[PNG_DEPTH]
    return bits_per_channel(image) if hasattr(image, "tag_v2") else 8


def _open(data: bytes) -> Image.Image:
    try:
        formats = boxed_formats(data[:256]) if data[4:8] == BOX else PLAIN_FORMATS
        return Image.open(BytesIO(data), formats=formats)
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
    if accepted or (other and data[4:8] == BOX and boxed_formats(data[:256])):
        return _truncated_error(accepted or str(other))
    reason = f"looks like {other}, which is not accepted here" if other else "is not a picture" if data else "is empty"
    return RequestError(415, "UnsupportedImageException", f"the data {reason}; {accepted_formats()}")


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


def upright(image: Image.Image) -> Image.Image:
    """Return the image with its EXIF orientation applied, or unchanged if the EXIF data is missing or corrupt.

    `ImageOps.exif_transpose` is not used: it also copies upright pictures, and fails if it cannot rewrite the EXIF.
    """
    try:
        transpose = TRANSPOSES.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return image
    return image if transpose is None else image.transpose(transpose)

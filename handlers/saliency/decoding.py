"""Bytes that a stranger sent to an upright Pillow image, or the refusal that tells why not."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from saliency.errors import RequestError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # phones' MPO is opened by the JPEG plugin
ACCEPTED = "accepted are JPEG, PNG, WebP, BMP, GIF (its first frame) and TIFF"
MARKS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
)
OTHER_MARKS = (
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC or AVIF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "ICO"),
)
LONGEST_SIDE = 1 << 24  # Pillow resizes in float32 coordinates: beyond this they miss whole pixels
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(data: bytes, max_pixels: int) -> Image.Image:
    """Return the first frame, decoded and upright, in whatever mode it has.

    RequestError 415 for what is not an image of an allowed format or is broken, and 413 for more than
    `max_pixels`, judged by the header, before any pixel is decoded. Pillow's own ceiling stays in force too:
    twice `PIL.Image.MAX_IMAGE_PIXELS`, which is the whole process's and therefore not ours to set.
    """
    image = _open(data)
    _check_size(image, max_pixels)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise almost anything on broken data
        raise _broken(_format_by_marks(data, MARKS) or "a picture") from error
    return _upright(image)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = "the picture has more pixels than can be decoded safely"
        raise RequestError(413, "PictureTooLargeException", message) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _refusal(data) from error


def _refusal(data: bytes) -> RequestError:
    """Return the 415 for data that cannot be opened, with what it is as far as its first bytes tell."""
    accepted, other = _format_by_marks(data, MARKS), _format_by_marks(data, OTHER_MARKS)
    if accepted:
        return _broken(accepted)
    what = f"looks like {other}, which is not accepted" if other else "is not a picture" if data else "is empty"
    return RequestError(415, "UnsupportedImageException", f"the data {what}; {ACCEPTED}")


def _broken(name: str) -> RequestError:
    message = f"the data begins as {name}, but it is truncated, broken or of an unsupported kind"
    return RequestError(415, "TruncatedImageException", message)


def _format_by_marks(data: bytes, marks: tuple[tuple[int, bytes, str], ...]) -> str | None:
    names = (name for offset, mark, name in marks if data[offset : offset + len(mark)] == mark)
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
        message = f"the picture is {width} x {height} pixels: there is nothing to see"
        raise RequestError(415, "UnsupportedImageException", message)


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF orientation asks, or itself where that says nothing or is broken.

    Not by `ImageOps.exif_transpose`, which copies upright pictures too and fails where it cannot rewrite it.
    """
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)

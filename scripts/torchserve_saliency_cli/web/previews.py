"""Pictures as every browser can show them: upright, in 8 bits, as PNG or JPEG, and no larger than asked."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from torchserve_saliency.images.decoding import ORIENTATION, read
from torchserve_saliency.images.pixel_modes import to_channels

SMALLEST, LARGEST = 16, 2048  # of the longer side that can be asked for
EXACT = 512  # pictures with no longer side are sent without loss
MOST_PIXELS = 50_000_000
# A file that every browser shows with the pixels that the network sees is sent as it is, up to these limits.
PLAIN = {"JPEG": "image/jpeg", "PNG": "image/png"}
PLAIN_PIXELS, PLAIN_BYTES = 2_000_000, 2 << 20
OTHERWISE_SHOWN = {"icc_profile", "transparency", "gamma", "duration"}


def preview(data: bytes, side: int) -> tuple[bytes, str]:
    """Return a picture with about `side` pixels on its longer side, or more if its file is sent as it is; and its type.

    Raise RequestError 413 or 415 if the picture is too large or cannot be decoded.
    """
    if side > EXACT and (kind := plain_kind(data)):
        return data, kind
    image = to_channels(read(data, MOST_PIXELS), 3)
    side = min(max(side, SMALLEST), LARGEST)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    if max(image.size) <= EXACT and side > EXACT:
        image.save(file, "PNG", compress_level=1)
        return file.getvalue(), "image/png"
    image.save(file, "JPEG", quality=92 if side > EXACT else 85)
    return file.getvalue(), "image/jpeg"


def plain_kind(data: bytes) -> str | None:
    """Return the media type of a file that a browser shows as the network sees it, by its header; None for others.

    Browsers show colour profiles, transparency, palettes, 16 bits and animations, and may show orientations,
    differently.
    """
    if len(data) > PLAIN_BYTES or b"eXIf" in data:  # the orientation of a PNG may stand after its pixels
        return None
    try:
        image = Image.open(BytesIO(data), formats=list(PLAIN))
        turned = image.format == "JPEG" and image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # decoders raise almost anything on broken data
        return None
    plain = image.mode in ("RGB", "L") and not OTHERWISE_SHOWN & image.info.keys()
    small = image.width * image.height <= PLAIN_PIXELS
    return PLAIN[str(image.format)] if plain and small and not turned else None

"""Pictures as every browser can show them: upright, in 8 bits, as PNG or JPEG, and no larger than asked."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from torchserve_saliency.images.decoding import read
from torchserve_saliency.images.pixel_modes import to_channels

SMALLEST, LARGEST = 16, 2048  # of the longer side that can be asked for
EXACT = 512  # pictures with no longer side are sent without loss
MOST_PIXELS = 50_000_000


def preview(data: bytes, side: int) -> tuple[bytes, str]:
    """Return a picture with at most `side` pixels on its longer side, and its media type.

    Raise RequestError 413 or 415 if the picture is too large or cannot be decoded.
    """
    image = to_channels(read(data, MOST_PIXELS), 3)
    side = min(max(side, SMALLEST), LARGEST)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    if max(image.size) <= EXACT and side > EXACT:
        image.save(file, "PNG", compress_level=1)
        return file.getvalue(), "image/png"
    image.save(file, "JPEG", quality=92 if side > EXACT else 85)
    return file.getvalue(), "image/jpeg"

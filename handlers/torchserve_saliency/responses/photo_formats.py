"""JPEG and WebP files of drawn maps: a tenth of the bytes of a PNG for a large photograph."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.pixel_modes import on_white


@dataclass(frozen=True)
class _PhotoFormat:
    """A lossy format: its longest side in pixels, and the settings of its encoder, the best quality first."""

    name: str
    longest_side: int
    settings: tuple[Mapping[str, Any], ...]


# Colours of a map have sharp edges, so the best JPEG does not subsample them. A faster WebP (method) is 5 % larger.
PHOTO_FORMATS: Mapping[str, _PhotoFormat] = MappingProxyType(
    {
        "jpeg": _PhotoFormat(
            "JPEG",
            65_500,
            ({"quality": 92, "subsampling": 0}, {"quality": 85, "subsampling": 0}, {"quality": 75, "subsampling": 2}),
        ),
        "webp": _PhotoFormat("WEBP", 16_383, tuple({"quality": quality, "method": 2} for quality in (90, 80, 65))),
    }
)


def to_photo(picture: Image.Image, name: str, max_bytes: int) -> bytes:
    """Return a picture as a JPEG or WebP file, with transparent pixels on white.

    The quality is the best one whose file has at most half of `max_bytes`, else the lowest. Raise RequestError 413 if a
    side of the picture is longer than the format can hold.
    """
    photo = PHOTO_FORMATS[name]
    if max(picture.size) > photo.longest_side:
        size = f"{picture.width:,} x {picture.height:,} pixels"
        message = (
            f"the picture would have {size}, and a side of a {name} has at most {photo.longest_side:,}; "
            "ask for space input, fewer targets, another render than side_by_side, or format png"
        )
        raise RequestError(413, "ResponseTooLargeException", message, "format")
    opaque = on_white(picture)
    data = b""
    for settings in photo.settings:
        file = io.BytesIO()
        opaque.save(file, photo.name, **settings)
        data = file.getvalue()
        if len(data) <= max_bytes // 2:
            break
    return data

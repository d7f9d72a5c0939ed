"""The format that an `Accept` header asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from saliency.errors import RequestError

CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "json": "application/json",
        "png": "image/png",
        "npy": "application/x-npy",
        "binary": "application/octet-stream",  # JSON with tensors behind it
    }
)


def accepted(header: str, offers: Sequence[str]) -> str:
    """Return the best of the formats offered (the server's favourite first), or raise a RequestError 406."""
    ranges = [_media_range(part) for part in header.split(",") if part.strip()]
    if not ranges:
        return offers[0]
    wishes = [_wish(CONTENT_TYPES[offer], ranges) for offer in offers]
    best = max(wishes)
    if best <= 0:
        types = ", ".join(CONTENT_TYPES[offer] for offer in offers)
        raise RequestError(406, "NotAcceptableException", f"none of the formats is accepted; there are {types}")
    return offers[wishes.index(best)]


def _media_range(text: str) -> tuple[str, float]:
    """Return a media range and its quality; a quality that is no number counts as 0."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            quality = _quality(value.strip())
    return name, quality


def _quality(text: str) -> float:
    """Return a quality of 0 to 1."""
    try:
        return min(max(float(text), 0.0), 1.0) if text.isascii() and text != "nan" else 0.0
    except ValueError:
        return 0.0


def _wish(content_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality that the most specific range gives a content type, 0 where none matches."""
    major = content_type.split("/")[0] + "/*"
    for pattern in (content_type, major, "*/*"):
        found = [quality for name, quality in ranges if name == pattern]
        if found:
            return max(found)
    return 0.0

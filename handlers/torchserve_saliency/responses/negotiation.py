"""Content negotiation: the format that an `Accept` header asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torchserve_saliency.errors import RequestError

CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "json": "application/json",
        "png": "image/png",
        "npy": "application/x-npy",
        "jpeg": "image/jpeg",
        "webp": "image/webp",
        "binary": "application/octet-stream",  # JSON, followed by tensors
    }
)


def negotiate(header: str, offers: Sequence[str]) -> str:
    """Return the format that the client prefers; raise RequestError 406 if it accepts none of the formats offered.

    If it prefers several equally, or the header is empty, the first offer is chosen.
    """
    ranges = [_media_range(part) for part in header.split(",") if part.strip()]
    if not ranges:
        return offers[0]
    qualities = [_quality_of(CONTENT_TYPES[offer], ranges) for offer in offers]
    best = max(qualities)
    if best <= 0:
        types = ", ".join(CONTENT_TYPES[offer] for offer in offers)
        raise RequestError(406, "NotAcceptableException", f"none of the formats is accepted; there are {types}")
    return offers[qualities.index(best)]


def _media_range(text: str) -> tuple[str, float]:
    """Return a media range and its quality value; an invalid quality value counts as 0."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            quality = _parse_quality(value.strip())
    return name, quality


def _parse_quality(text: str) -> float:
    """Return a quality value from 0 to 1."""
    try:
        return min(max(float(text), 0.0), 1.0) if text.isascii() and text != "nan" else 0.0
    except ValueError:
        return 0.0


def _quality_of(content_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality value of the most specific range that matches a content type, or 0 without a match."""
    major = content_type.split("/")[0] + "/*"
    for pattern in (content_type, major, "*/*"):
        found = [quality for name, quality in ranges if name == pattern]
        if found:
            return max(found)
    return 0.0

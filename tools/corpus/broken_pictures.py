"""Damaged pictures, pictures with a false size, and files that are valid in two formats."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator, Mapping

from PIL import Image

from tools.corpus.pictures import saved, scene

FRACTIONS = (0.02, 0.3, 0.7, 0.97)
COPIES = 6  # damaged copies of each picture
SIDE = 60_000


def truncated(pictures: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield each picture several times, cut off after different fractions of its bytes."""
    for name, data in pictures.items():
        for fraction in FRACTIONS:
            yield f"{fraction:.0%} of {name}", data[: int(fraction * len(data))]


def flipped(pictures: Mapping[str, bytes], seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield copies of each picture with some bits flipped; in every other copy only among the first 100 bytes."""
    for name, data in pictures.items():
        # a seed keeps the corpus the same in every run
        rng = random.Random(f"{seed} {name}")  # nosec B311
        for copy in range(COPIES):
            damaged, end = bytearray(data), min(len(data), 100) if copy % 2 == 0 else len(data)
            for _ in range(1 + copy * 2):
                damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
            yield f"{name} with bits turned ({copy})", bytes(damaged)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield small files that have billions of pixels, or claim to have them."""
    yield "PNG bomb", _png(SIDE, SIDE)
    yield "PNG bomb of the largest side", _png(2**31 - 1, 2**31 - 1)
    yield "PNG line too long", _png(2**24 + 1, 1)
    yield "GIF bomb", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + _gif_frame()
    yield "WebP bomb", _webp(16_383, 16_383)
    yield "TIFF bomb", _tiff(SIDE, SIDE)
    yield "BMP bomb", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0)
    large = saved(Image.new("1", (8_000, 8_000)), "PNG")
    yield "PNG of 64 million pixels, whole", large or b""


def polyglots() -> Iterator[tuple[str, bytes]]:
    """Yield files that are valid in two formats, with the picture first or last."""
    others = {"zip": b"PK\x03\x04" + bytes(60), "html": b"<script>alert(1)</script>", "pdf": b"%PDF-1.7\n%%EOF\n"}
    for name in ("PNG", "GIF", "JPEG"):
        picture = saved(scene(), name) or b""
        for kind, other in others.items():
            yield f"{name} with {kind} behind", picture + other
            yield f"{kind} with {name} behind", other + picture
    yield "PNG in the name of JPEG", b"\xff\xd8\xff" + (saved(scene(), "PNG") or b"")
    yield "EPS that runs", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc) (r) file\n"
    yield "SVG with an entity", b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///x">]><svg xmlns="http://x">&x;</svg>'


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", zlib.compress(bytes(1_000))) + _chunk(b"IEND", b"")


def _gif_frame() -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"


def _webp(width: int, height: int) -> bytes:
    """Return a lossless WebP whose five prefix codes have one symbol each, so that a pixel takes no bits."""
    bits = (width - 1) | (height - 1) << 14 | sum(1 << (35 + 4 * code) for code in range(5))
    stream = b"\x2f" + bits.to_bytes(9, "little") + bytes(8)
    return b"RIFF" + struct.pack("<I", len(stream) + 12) + b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream


def _tiff(width: int, height: int) -> bytes:
    """Return an 8-bit grey TIFF with one deflated strip."""
    strip = zlib.compress(bytes(100_000))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()
    )
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4)

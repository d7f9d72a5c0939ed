"""PNG files: of pictures by Pillow, of saliency maps by a simple encoder that is five times as fast."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMOOTH = (
    4.0  # mean difference of neighbours, in grey levels, below which the differences are written instead of the values
)


def to_png(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """Return a picture, or uint8 pixels [H, W], [H, W, 3] or [H, W, 4], as a PNG file.

    The compression uses run lengths and Huffman codes only: for a noisy picture, a search for repeated strings takes
    twice the time and saves no bytes.
    """
    if not isinstance(picture, Image.Image) and picture.ndim == 2:
        return _grey(picture)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, "PNG", compress_type=zlib.Z_RLE, compress_level=1)
    return file.getvalue()


def _grey(pixels: NDArray[np.uint8]) -> bytes:
    """Return grey pixels [H, W] as PNG: a smooth map by the differences of neighbours, a noisy map by its values."""
    height, width = pixels.shape
    smooth = _is_smooth(pixels)
    lines = np.empty((height, width + 1), np.uint8)
    lines[:, 0] = smooth  # the filter of each line: 0 for none, 1 for the difference to the left
    lines[:, 1:] = pixels
    if smooth:
        lines[:, 2:] -= pixels[:, :-1]
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY if smooth else zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = packer.compress(lines.data) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _is_smooth(pixels: NDArray[np.uint8]) -> bool:
    """Return True if the neighbours in a line differ little; only every fourth line is examined."""
    sample = pixels[::4].astype(np.int16)
    steps = np.abs(sample[:, 1:] - sample[:, :-1])
    return steps.size > 0 and float(steps.mean()) < SMOOTH


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, data, checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))

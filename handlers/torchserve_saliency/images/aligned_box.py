"""Boxes with which Pillow resizes a part of an axis with exactly the weights of the whole axis.

Pillow's boxes are float32, and the centre of each output pixel is computed from them. So a part of an axis gets the
weights of the whole axis only if both of its ends are float32 numbers in the source, as for 455 pixels made of 1920:
each 91 output pixels are 384 source pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.images.filters import BITS, FILTERS, SUPPORTS, Floats
from torchserve_saliency.images.geometry import Axis

Resampling = Image.Resampling
Part = tuple[int, int, float, float]
"""The first output pixel of a part and one past its last, and the start and end of the part in the source."""

CONTINUOUS = (Resampling.BILINEAR, Resampling.HAMMING, Resampling.BICUBIC, Resampling.LANCZOS)
LARGEST_SHARE = 0.9  # a part that is larger is not worth the trouble
FLOAT32_BITS = 24
MOST_TAPS = 512
SHORTEST_COMPARED = 1024  # the weights of a shorter axis are not worth a comparison


@lru_cache(maxsize=1024)
def aligned_part(axis: Axis, shown: tuple[int, int], resample: Image.Resampling, mode: str) -> Part | None:
    """Return the smallest part of an axis that contains the output pixels `shown` and gets the weights of the whole.

    Return None if there is none, or if it is hardly smaller than the whole axis. The weights of images of mode F are
    not rounded, so that they are equal only if all centres are.
    """
    odd = axis.scaled // (axis.scaled & -axis.scaled)
    period = odd // math.gcd(odd, axis.length)
    start, stop = shown[0] // period * period, -(-shown[1] // period) * period
    if resample not in CONTINUOUS or stop - start > LARGEST_SHARE * axis.scaled:
        return None
    edges = [(output * axis.length, axis.scaled) for output in (start, stop, stop - start)]
    if not all(_is_float32(*edge) for edge in edges):
        return None
    source = start * axis.length / axis.scaled
    if not _is_float32(axis.length, axis.scaled):
        is_rounded = mode != "F" and axis.length >= SHORTEST_COMPARED
        if not is_rounded or not _has_equal_weights(axis, shown, (start, source), resample):
            return None
    return start, stop, source, stop * axis.length / axis.scaled


def _is_float32(numerator: int, denominator: int) -> bool:
    """Tell if a fraction below 2 ** 24 is a float32 number."""
    divisor = math.gcd(numerator, denominator)
    numerator, denominator = numerator // divisor, denominator // divisor
    return denominator & (denominator - 1) == 0 and numerator < 1 << FLOAT32_BITS


def _has_equal_weights(
    axis: Axis, shown: tuple[int, int], start: tuple[int, float], resample: Image.Resampling
) -> bool:
    """Tell if the weights of a part, which starts at an output and at a source position, round to those of the whole.

    The centres differ by the rounding of float64. No weight may be so near to the middle between two rounded weights
    that this could matter.
    """
    scale = axis.length / axis.scaled
    support = SUPPORTS[resample] * max(scale, 1.0)
    taps = 2 * math.ceil(support) + 3
    if taps > MOST_TAPS:
        return False
    middles = np.arange(*shown, dtype=np.float64) + 0.5
    centres: Floats = middles * scale
    shifted: Floats = start[1] + (middles - start[0]) * scale
    pixels = np.floor(centres - support).astype(np.int64)[:, None] - 1 + np.arange(taps)
    whole = _weights(axis, centres, pixels, resample)
    part = _weights(axis, shifted, pixels, resample)
    error = 4 * np.abs(whole - part).max() + 1e-8
    return bool(np.abs(whole - np.floor(whole) - 0.5).min() > error)


def _weights(axis: Axis, centres: Floats, pixels: NDArray[np.int64], resample: Image.Resampling) -> Floats:
    """Return the weights of pixels [outputs, taps] around the centres, in units of Pillow's rounded weights."""
    weights = FILTERS[resample]((pixels - centres[:, None] + 0.5) * (1.0 / max(axis.length / axis.scaled, 1.0)))
    weights = np.where((pixels >= 0) & (pixels < axis.length), weights, 0)
    scaled: Floats = weights / weights.sum(1, keepdims=True) * (1 << BITS)
    return scaled

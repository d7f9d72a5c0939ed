"""Pillow's resampling of one axis, computed for some of its pixels only.

It serves pictures that Pillow itself could resize only with gigabytes of memory, such as 1 x 60000 pixels: weights are
computed in float64 and rounded to 22 bits, as Pillow does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.images.geometry import Axis

Resampling = Image.Resampling
Floats = NDArray[np.float64]
SUPPORTS = {
    Resampling.BOX: 0.5,
    Resampling.BILINEAR: 1.0,
    Resampling.HAMMING: 1.0,
    Resampling.BICUBIC: 2.0,
    Resampling.LANCZOS: 3.0,
}
BITS = 22  # of the weights of 8-bit pictures
MOST_STEPS = 1 << 26  # positions that are summed up one by one, as Pillow does


def resampled_line(
    image: Image.Image, number: int, start: int, axis: Axis, shown: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """Return an image with axis `number` (0 across, 1 down) resized and cropped to `shown`.

    The image holds the axis from the pixel `start`.
    """
    pixels = np.asarray(image)
    lines = pixels if number == 1 else pixels.swapaxes(0, 1)
    weigh = _weigh_reals if image.mode == "F" else _weigh_levels
    out = np.empty((shown[1] - shown[0], *lines.shape[1:]), lines.dtype)
    for index in range(shown[0], shown[1]):
        first, weights = weights_at(index, axis.length, axis.scaled, resample)
        out[index - shown[0]] = weigh(lines[first - start : first - start + len(weights)], weights)
    result = out if number == 1 else out.swapaxes(0, 1)
    return Image.frombytes(image.mode, (result.shape[1], result.shape[0]), result.tobytes())


def weights_at(index: int, length: int, scaled: int, resample: Image.Resampling) -> tuple[int, Floats]:
    """Return the first source pixel of an output pixel, and the weights of that pixel and of those after it."""
    scale = length / scaled
    widening = max(scale, 1.0)
    support = SUPPORTS[resample] * widening
    centre = (index + 0.5) * scale
    first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), length)
    distances: Floats = (np.arange(first, last, dtype=np.float64) - centre + 0.5) * (1.0 / widening)
    weights = FILTERS[resample](distances)
    total = float(weights.cumsum()[-1])  # summed one by one, as Pillow does
    return first, weights / total if total else weights


def selected_line(axis: Axis, shown: tuple[int, int]) -> NDArray[np.intp]:
    """Return the source pixels of the output pixels `shown` if each output pixel is the nearest source pixel."""
    step = axis.length / axis.scaled
    if axis.scaled > MOST_STEPS:
        positions = (np.arange(shown[0], shown[1]) + 0.5) * step
    else:
        steps = np.full(shown[1], step)
        steps[0] = 0.5 * step
        positions = np.add.accumulate(steps)[shown[0] :]
    return np.minimum(positions.astype(np.intp), axis.length - 1)


def _weigh_levels(lines: NDArray[np.uint8], weights: Floats) -> NDArray[np.uint8]:
    scaled = weights * (1 << BITS)
    whole = np.where(scaled < 0, scaled - 0.5, scaled + 0.5).astype(np.int64)
    total = np.tensordot(whole, lines.astype(np.int64), 1) + (1 << (BITS - 1))
    levels: NDArray[np.uint8] = np.clip(total >> BITS, 0, 255).astype(np.uint8)
    return levels


def _weigh_reals(lines: NDArray[np.float32], weights: Floats) -> NDArray[np.float32]:
    total: NDArray[np.float32] = (lines * weights[:, None]).cumsum(0)[-1].astype(np.float32)
    return total


def _box(x: Floats) -> Floats:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Floats) -> Floats:
    x = np.abs(x)
    return np.where(x < 1, 1 - x, 0)


def _hamming(x: Floats) -> Floats:
    x = np.abs(x)
    angle = np.where(x == 0, 1, x) * np.pi
    inside = np.sin(angle) / angle * (np.float64(np.float32(0.54)) + np.float64(np.float32(0.46)) * np.cos(angle))
    return np.where(x == 0, 1.0, np.where(x >= 1, 0.0, inside))


def _bicubic(x: Floats) -> Floats:
    x = np.abs(x)
    near = ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _sinc(x: Floats) -> Floats:
    angle = np.where(x == 0, 1, x) * np.pi
    return np.where(x == 0, 1.0, np.sin(angle) / angle)


def _lanczos(x: Floats) -> Floats:
    return np.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), 0)


FILTERS: dict[Image.Resampling, Callable[[Floats], Floats]] = {
    Resampling.BOX: _box,
    Resampling.BILINEAR: _bilinear,
    Resampling.HAMMING: _hamming,
    Resampling.BICUBIC: _bicubic,
    Resampling.LANCZOS: _lanczos,
}

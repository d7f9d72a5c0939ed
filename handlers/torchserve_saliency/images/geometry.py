"""The position of a network's input in the original picture, and projection of maps back onto that picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Axis:
    """One axis of a resize and a centre crop, in whole pixels.

    `length` is the length of the picture, `scaled` of the resized picture, and `crop` of the input. `offset` is the
    start of the crop in the resized picture. It is negative if the crop is larger and therefore padded.
    """

    length: int
    scaled: int
    crop: int
    offset: int

    @property
    def filled(self) -> tuple[int, int]:
        """Return the range of input pixels that show the picture: the first, and one past the last."""
        return max(-self.offset, 0), min(self.scaled - self.offset, self.crop)

    def at(self, pixel: int) -> float:
        """Return the position of an input pixel's left (or upper) edge in the picture, in pixels."""
        return (pixel + self.offset) * self.length / self.scaled

    @property
    def source(self) -> tuple[float, float]:
        """Return the start and end of the part of the picture that the filled pixels show, in pixels."""
        first, last = self.filled
        return self.at(first), min(self.at(last), float(self.length))

    def reach(self, radius: float) -> tuple[int, int]:
        """Return the range of picture pixels that a filter of this radius reads to compute the filled pixels."""
        start, stop = self.source
        margin = radius * max(self.length / self.scaled, 1) + 1
        return max(math.floor(start - margin), 0), min(math.ceil(stop + margin), self.length)


def centred(length: int, scaled: int, crop: int, rounding: str = "even") -> Axis:
    """Return the axis of a centre crop, or of padding around the centre if the crop is larger.

    If the spare pixels are odd, half of them is rounded as in torchvision: to even for a crop, and the odd pixel of
    padding is at the end. With the rounding `zero`, both are rounded towards 0, and with `floor` the start of the crop
    is rounded down, so that the odd pixel of padding is at the start.
    """
    spare = scaled - crop
    if rounding == "floor":
        return Axis(length, scaled, crop, spare // 2)
    if rounding == "zero":
        return Axis(length, scaled, crop, int(spare / 2))
    return Axis(length, scaled, crop, round(spare / 2) if spare >= 0 else -(-spare // 2))


def scaled_size(width: int, height: int, resize: tuple[int, ...], fit: str = "shorter") -> tuple[int, int]:
    """Return the resized (width, height).

    With the fit `shorter`, `resize` is either (shorter side,), and the longer side is rounded down as in torchvision,
    or an exact (height, width). With `cover` and `letterbox`, the picture keeps its ratio and just covers the rectangle
    `resize`, or just fits into it; sides are rounded as in timm. With `none`, it is not resized.
    """
    if fit == "none":
        return width, height
    if fit != "shorter":
        ratios = (height / resize[0], width / resize[-1])
        ratio = max(ratios) if fit == "letterbox" else min(ratios)
        return max(round(width / ratio), 1), max(round(height / ratio), 1)
    if len(resize) == 2:
        return resize[1], resize[0]
    longer = int(resize[0] * max(width, height) / min(width, height))
    return (resize[0], longer) if width <= height else (longer, resize[0])


def pixel_box(crop: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the pixels with their centres inside the crop, at least one pixel."""
    left, right = _pixel_range(crop[0], crop[2], width)
    top, bottom = _pixel_range(crop[1], crop[3], height)
    return left, top, right, bottom


def project(saliency: NDArray[np.float32], crop: Box, width: int, height: int) -> NDArray[np.float32]:
    """Return a map [..., h, w] resampled to its crop of a picture, float32 [..., height, width], 0 outside the crop.

    Maps are enlarged by bilinear interpolation and reduced by averaging, so a constant map stays constant. Parts of
    the crop outside the picture are dropped.
    """
    left, top, right, bottom = pixel_box(crop, width, height)
    steps = [(-1, crop[0], crop[2], np.arange(left, right)), (-2, crop[1], crop[3], np.arange(top, bottom))]
    if bottom - top < saliency.shape[-2]:
        steps.reverse()  # reduce before enlarging: a picture of 1 x 60000 must not be enlarged 224 times
    for axis, start, stop, pixels in steps:
        saliency = _resample_axis(saliency, axis, start, stop, pixels)
    whole = np.zeros((*saliency.shape[:-2], height, width), np.float32)
    whole[..., top:bottom, left:right] = saliency
    return whole


def _pixel_range(start: float, stop: float, length: int) -> tuple[int, int]:
    first, last = max(math.ceil(start - 0.5), 0), min(math.ceil(stop - 0.5), length)
    if first < last:
        return first, last
    nearest = min(max(math.floor((start + stop) / 2), 0), length - 1)
    return nearest, nearest + 1


def _resample_axis(
    saliency: NDArray[np.float32], axis: int, start: float, stop: float, pixels: NDArray[np.int_]
) -> NDArray[np.float32]:
    """Return the map with one axis spread over [start, stop) and sampled at the centres of `pixels`."""
    pitch = saliency.shape[axis] / (stop - start)
    places = (pixels + 0.5 - start) * pitch - 0.5
    return _average(saliency, axis, places, pitch) if pitch > 1 else _interpolate(saliency, axis, places)


def _interpolate(saliency: NDArray[np.float32], axis: int, places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return linear interpolation along an axis, at `places` in units of cells."""
    last = saliency.shape[axis] - 1
    places = np.clip(places, 0, last)
    low = places.astype(np.intp)
    share = (places - low).astype(np.float32)
    below, above = np.take(saliency, low, axis), np.take(saliency, np.minimum(low + 1, last), axis)
    above -= below  # in place: these arrays may be as large as the picture
    above *= share if axis == -1 else share[:, None]
    below += above
    return below


def _average(
    saliency: NDArray[np.float32], axis: int, places: NDArray[np.float64], pitch: float
) -> NDArray[np.float32]:
    """Return a weighted mean along an axis around each place: triangular weights over `pitch` cells to either side."""
    near = np.maximum(1 - np.abs(places[:, None] - np.arange(saliency.shape[axis])) / pitch, 0)
    # torch, because the threads of numpy's BLAS keep spinning and slow down the next forward pass
    weights = torch.from_numpy((near / near.sum(1, keepdims=True)).astype(np.float32))
    cells = torch.from_numpy(saliency)
    mean: NDArray[np.float32] = (cells @ weights.T if axis == -1 else weights @ cells).numpy()
    return mean

"""Where a network's input lies in the picture that it was cut from, and maps laid back on that place."""

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

    `length` is the picture's, `scaled` that of the resized picture, `crop` that of the input; `offset` is
    where the crop begins in the resized picture: below 0 where the crop is the larger, with padding around.
    """

    length: int
    scaled: int
    crop: int
    offset: int

    @property
    def filled(self) -> tuple[int, int]:
        """Return the first input pixel that shows the picture, and the one after the last."""
        return max(-self.offset, 0), min(self.scaled - self.offset, self.crop)

    def at(self, pixel: int) -> float:
        """Return where an input pixel's left (upper) edge lies, in the picture's pixels."""
        return (pixel + self.offset) * self.length / self.scaled

    @property
    def source(self) -> tuple[float, float]:
        """Return the stretch of the picture that the filled pixels show, in the picture's pixels."""
        first, last = self.filled
        return self.at(first), min(self.at(last), float(self.length))

    def reach(self, radius: float) -> tuple[int, int]:
        """Return the whole pixels of the picture that a filter of that radius reads for the filled pixels."""
        start, stop = self.source
        margin = radius * max(self.length / self.scaled, 1) + 1
        return max(math.floor(start - margin), 0), min(math.ceil(stop + margin), self.length)


def centred(length: int, scaled: int, crop: int) -> Axis:
    """Return the axis of a centre crop, rounded as torchvision does: half to even, odd padding at the end."""
    spare = scaled - crop
    return Axis(length, scaled, crop, round(spare / 2) if spare >= 0 else -(-spare // 2))


def scaled_size(width: int, height: int, resize: tuple[int, ...]) -> tuple[int, int]:
    """Return the resized (width, height), for `resize` as (shorter side,) or as the exact (height, width)."""
    if len(resize) == 2:
        return resize[1], resize[0]
    longer = int(resize[0] * max(width, height) / min(width, height))
    return (resize[0], longer) if width <= height else (longer, resize[0])


def pixel_box(crop: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the pixels whose centres lie in the crop: at least one pixel."""
    left, right = _pixels(crop[0], crop[2], width)
    top, bottom = _pixels(crop[1], crop[3], height)
    return left, top, right, bottom


def project(saliency: NDArray[np.float32], crop: Box, width: int, height: int) -> NDArray[np.float32]:
    """Return the map [..., h, w] laid on its crop of a picture: float32 [..., height, width], 0 outside.

    Values are kept (a constant map stays that constant); between them it is bilinear, and where several of
    the map's cells share one pixel they are averaged. What reaches beyond the picture is cut off.
    """
    left, top, right, bottom = pixel_box(crop, width, height)
    steps = [(-1, crop[0], crop[2], np.arange(left, right)), (-2, crop[1], crop[3], np.arange(top, bottom))]
    if bottom - top < saliency.shape[-2]:
        steps.reverse()  # what shrinks goes first: a picture of 1 x 60000 is not enlarged 224 times
    for axis, start, stop, pixels in steps:
        saliency = _laid(saliency, axis, start, stop, pixels)
    whole = np.zeros((*saliency.shape[:-2], height, width), np.float32)
    whole[..., top:bottom, left:right] = saliency
    return whole


def _pixels(start: float, stop: float, length: int) -> tuple[int, int]:
    first, last = max(math.ceil(start - 0.5), 0), min(math.ceil(stop - 0.5), length)
    if first < last:
        return first, last
    nearest = min(max(math.floor((start + stop) / 2), 0), length - 1)
    return nearest, nearest + 1


def _laid(
    saliency: NDArray[np.float32], axis: int, start: float, stop: float, pixels: NDArray[np.int_]
) -> NDArray[np.float32]:
    """Return the map with the cells of one axis spread over [start, stop) and read at those pixels' centres."""
    pitch = saliency.shape[axis] / (stop - start)
    places = (pixels + 0.5 - start) * pitch - 0.5
    return _averaged(saliency, axis, places, pitch) if pitch > 1 else _between(saliency, axis, places)


def _between(saliency: NDArray[np.float32], axis: int, places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the linear interpolation along an axis at places counted in cells."""
    last = saliency.shape[axis] - 1
    places = np.clip(places, 0, last)
    low = places.astype(np.intp)
    share = (places - low).astype(np.float32)
    below, above = np.take(saliency, low, axis), np.take(saliency, np.minimum(low + 1, last), axis)
    above -= below  # in place, as these may be as large as the picture
    above *= share if axis == -1 else share[:, None]
    below += above
    return below


def _averaged(
    saliency: NDArray[np.float32], axis: int, places: NDArray[np.float64], pitch: float
) -> NDArray[np.float32]:
    """Return the mean along an axis about each place, of `pitch` cells to either side, the nearest weighing most."""
    near = np.maximum(1 - np.abs(places[:, None] - np.arange(saliency.shape[axis])) / pitch, 0)
    # by torch: numpy's BLAS has threads of its own, which spin on and slow the next forward pass
    shares, cells = torch.from_numpy((near / near.sum(1, keepdims=True)).astype(np.float32)), torch.from_numpy(saliency)
    mean: NDArray[np.float32] = (cells @ shares.T if axis == -1 else shares @ cells).numpy()
    return mean

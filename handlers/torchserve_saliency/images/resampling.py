"""The centre crop of a resized picture: the pixels of Pillow's resize of the whole picture, at less cost.

Pillow resizes in two passes, one per axis, and rounds to 8 bits between them. A pass over the whole axis gives each
pixel the same weights, whether or not the other axis is cropped first. So each axis is resized whole, and the other
one is cropped to the pixels that are needed. Resizing with Pillow's `box` costs less, but its coordinates are float32
and its weights therefore differ, except for the boxes of `aligned_box`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image

from torchserve_saliency.images.aligned_box import aligned_part
from torchserve_saliency.images.filters import SUPPORTS, resampled_line, selected_line
from torchserve_saliency.images.geometry import Axis
from torchserve_saliency.images.pass_order import vertical_first_rule

Resampling = Image.Resampling
MOST_RESIZED_PIXELS = 1 << 24  # a picture of 1 x 60000 would be resized to 256 x 15 million
MOST_RESIZED_SIDE = 1 << 16  # Pillow computes the weights of all pixels of a side
MOST_COPIED_PIXELS = 1 << 21
STRIP_PIXELS = 1 << 19  # a strip of fewer pixels is not worth a thread


def resized_crop(image: Image.Image, across: Axis, down: Axis, resample: Image.Resampling) -> Image.Image:
    """Return the part of the resized image inside the crop, in the mode L, RGB, RGBA or F of the image."""
    axes = (across, down)
    if across.length == across.scaled and down.length == down.scaled:
        return _crop(image, _shown(across), _shown(down))
    if resample == Resampling.NEAREST:
        return _nearest(image, axes)
    if image.mode == "RGBA":
        return resized_crop(image.convert("RGBa"), across, down, resample).convert("RGBA")
    rule = vertical_first_rule()
    if rule is None and across.scaled * down.scaled <= MOST_RESIZED_PIXELS:
        return _crop(image.resize((across.scaled, down.scaled), resample), _shown(across), _shown(down))
    first = int(rule is not None and rule(image.size, (across.scaled, down.scaled)))
    return _second_pass(_first_pass(image, axes, first, resample), axes, 1 - first, resample)


def _shown(axis: Axis) -> tuple[int, int]:
    """Return the range of the resized picture's pixels inside the crop."""
    first, last = axis.filled
    return first + axis.offset, last + axis.offset


def _with_side(size: tuple[int, int], number: int, side: int) -> tuple[int, int]:
    """Return a size, or a position, of which one entry is replaced."""
    return (side, size[1]) if number == 0 else (size[0], side)


def _crop(image: Image.Image, columns: tuple[int, int], rows: tuple[int, int]) -> Image.Image:
    return image.crop((columns[0], rows[0], columns[1], rows[1]))


def _crop_axis(image: Image.Image, axis: int, pixels: tuple[int, int]) -> Image.Image:
    """Return the image cropped to a range of columns (axis 0) or rows (axis 1)."""
    ranges = [(0, image.width), (0, image.height)]
    ranges[axis] = pixels
    return _crop(image, *ranges)


def _first_pass(
    image: Image.Image, axes: Sequence[Axis], axis: int, resample: Image.Resampling
) -> tuple[Image.Image, int]:
    """Resize one axis, for the lines that the second pass needs. Return the result and the position of its first line.

    The lines are distributed over threads, as Pillow releases the interpreter's lock.
    """
    other = axes[1 - axis]
    start, stop = other.reach(SUPPORTS[resample])
    shown = _shown(axes[axis])

    def strip(lines: tuple[int, int]) -> Image.Image:
        return _resize_lines(image, axes[axis], axis, lines, resample)

    pool, count = _threads(), (stop - start) * image.size[axis] // STRIP_PIXELS
    if pool is None or min(count, stop - start) < 2:
        return strip((start, stop)), start
    count = min(count, stop - start, _thread_count())
    edges = [start + (stop - start) * k // count for k in range(count + 1)]
    strips = list(pool.map(strip, pairwise(edges)))
    whole = Image.new(image.mode, _with_side((shown[1] - shown[0],) * 2, 1 - axis, stop - start))
    for edge, part in zip(edges[:-1], strips, strict=True):
        whole.paste(part, _with_side((0, 0), 1 - axis, edge - start))
    return whole, start


def _resize_lines(
    image: Image.Image, axis: Axis, number: int, lines: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """Return a range of lines of the whole image, with one axis resized and cropped.

    Only a part of the axis is resized if that is exact. Copying the lines costs more than resizing them with a `box`
    if they are large. The box is exact, because it cuts the other axis, which keeps its size, at whole pixels.
    """
    count, rule, shown = lines[1] - lines[0], vertical_first_rule(), _shown(axis)
    part = aligned_part(axis, shown, resample, image.mode)
    start, stop, *ends = part or (0, axis.scaled, 0, axis.length)
    size = _with_side(_with_side(image.size, 1 - number, count), number, stop - start)
    is_large = count * axis.length > MOST_COPIED_PIXELS and axis.scaled <= min(axis.length // 4, MOST_RESIZED_SIDE)
    if not is_large or rule is None or rule(image.size, size) != bool(number):
        image, lines = _crop_axis(image, 1 - number, lines), (0, count)
        if part is None:
            return _resize_axis(image, axis, number, shown, resample)
    box = (ends[0], lines[0], ends[1], lines[1]) if number == 0 else (lines[0], ends[0], lines[1], ends[1])
    return _crop_axis(image.resize(size, resample, box), number, (shown[0] - start, shown[1] - start))


def _second_pass(
    passed: tuple[Image.Image, int], axes: Sequence[Axis], axis: int, resample: Image.Resampling
) -> Image.Image:
    """Resize the other axis of an image that holds only the needed lines of it, from the line `passed[1]`."""
    image, start = passed
    return _resize_axis(image, axes[axis], axis, _shown(axes[axis]), resample, start)


def _resize_axis(
    image: Image.Image,
    axis: Axis,
    number: int,
    shown: tuple[int, int],
    resample: Image.Resampling,
    start: int = 0,
) -> Image.Image:
    """Return an image with one axis resized whole and cropped to `shown`.

    The image holds the axis from the pixel `start`. What it lacks is left black, because no shown pixel needs it.
    """
    if axis.length == axis.scaled:
        return _crop_axis(image, number, (shown[0] - start, shown[1] - start))
    lines, is_partial = image.size[1 - number], image.size[number] < axis.length
    pixels = lines * max(axis.scaled, axis.length if is_partial else 0)
    if pixels > MOST_RESIZED_PIXELS or axis.scaled > MOST_RESIZED_SIDE:
        return resampled_line(image, number, start, axis, shown, resample)
    if is_partial:
        whole = Image.new(image.mode, _with_side(image.size, number, axis.length))
        whole.paste(image, _with_side((0, 0), number, start))
        image = whole
    return _crop_axis(image.resize(_with_side(image.size, number, axis.scaled), resample), number, shown)


def _nearest(image: Image.Image, axes: Sequence[Axis]) -> Image.Image:
    """Return the crop of the picture resized by selecting pixels."""
    across, down = axes
    if across.scaled * down.scaled <= MOST_RESIZED_PIXELS:
        whole = image.resize((across.scaled, down.scaled), Resampling.NEAREST)
        return _crop(whole, _shown(across), _shown(down))
    columns, rows = (selected_line(axis, _shown(axis)) for axis in axes)
    return Image.fromarray(np.asarray(image)[rows[:, None], columns])


def _thread_count() -> int:
    return min(os.cpu_count() or 1, 4)


@cache
def _threads() -> ThreadPoolExecutor | None:
    return ThreadPoolExecutor(_thread_count(), "resize") if _thread_count() > 1 else None

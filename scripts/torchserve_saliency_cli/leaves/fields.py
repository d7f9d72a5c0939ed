"""Arrays over the picture: smooth noise, colour blending, and small windows to draw in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIZE = 224

Field = NDArray[np.float32]
Values = NDArray[np.float32] | NDArray[np.float64]
Mask = NDArray[np.bool_]
Colour = tuple[float, float, float]


def grid() -> tuple[Field, Field]:
    """Return the pixel centres as y [H, 1] and x [1, W]."""
    axis = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    return axis[:, None], axis[None, :]


def smooth(rng: Generator, rows: int, columns: int | None = None) -> Field:
    """Return smooth noise [H, W], about 0 to 1, with `rows` by `columns` random knots."""
    knots = rng.random((rows, columns or rows), dtype=np.float32)
    image = Image.fromarray(knots).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def layered(rng: Generator, rows: int, octaves: int = 3) -> Field:
    """Return noise [H, W], about 0 to 1, whose octaves double in frequency and halve in strength."""
    weights = [0.5**octave for octave in range(octaves)]
    total = sum(w * smooth(rng, rows << octave) for octave, w in enumerate(weights))
    return np.asarray(total / sum(weights), dtype=np.float32)


def ramp(low: float, high: float, value: Values) -> Field:
    """Return 0 below `low`, 1 above `high` and a smooth rise between; if `low` is above `high`, a fall."""
    x = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), dtype=np.float32)


def bump(value: Values, centre: float, width: float) -> Field:
    """Return a Gaussian of height 1 around `centre`."""
    return np.asarray(np.exp(-(((value - centre) / width) ** 2)), dtype=np.float32)


def colour(*rgb: float) -> Field:
    """Return a colour as float32 [3]."""
    return np.array(rgb, dtype=np.float32)


def between(rng: Generator, first: Colour, second: Colour) -> Field:
    """Return a random colour near the line from `first` to `second`, as float32 [3]."""
    mixed = np.array(first) + rng.random() * (np.array(second) - np.array(first))
    return np.asarray(np.clip(mixed + rng.normal(0, 0.012, 3), 0, 1), dtype=np.float32)


def blend(below: Values, above: Values, alpha: Values) -> Field:
    """Return `below` [h, w, 3] covered by `above` ([3] or [h, w, 3]) with opacity `alpha` [h, w]."""
    return np.asarray(below + (above - below) * alpha[..., None], dtype=np.float32)


def blurred(field: Field, radius: float) -> Field:
    """Return a field [H, W] or a picture [H, W, 3], with values in 0-1, out of focus by `radius` pixels."""
    image = Image.fromarray(to_bytes(field)).filter(ImageFilter.BoxBlur(radius))
    return np.asarray(image.filter(ImageFilter.BoxBlur(radius * 0.7)), dtype=np.float32) / np.float32(255)


def to_bytes(field: Field) -> NDArray[np.uint8]:
    """Return values in 0-1 as rounded uint8."""
    return (np.clip(field, 0, 1) * 255 + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Window:
    """The part of the picture around a point: slices, and each pixel's offset `y` [h, 1], `x` [1, w] from the point."""

    at: tuple[slice, slice]
    y: Field
    x: Field

    @property
    def radius(self) -> Field:
        return np.asarray(np.hypot(self.y, self.x), dtype=np.float32)

    def turned(self, angle: float) -> tuple[Field, Field]:
        """Return the offsets along and across the direction `angle`, [h, w] each."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return self.x * c + self.y * s, self.y * c - self.x * s


def window(x: float, y: float, reach: float) -> Window:
    """Return the window of `reach` pixels around (x, y), clipped to the picture; it is empty if it lies outside."""
    rows, columns = _span(y, reach), _span(x, reach)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5 - y)
    dx = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5 - x)
    return Window((rows, columns), dy[:, None], dx[None, :])


def _span(centre: float, reach: float) -> slice:
    low, high = int(np.floor(centre - reach)), int(np.ceil(centre + reach))
    start = min(max(low, 0), SIZE)
    return slice(start, max(start, min(high, SIZE)))

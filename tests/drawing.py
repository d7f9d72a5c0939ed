"""Maps and pictures to draw, and the pixels of the drawn pictures."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.responses.explanation import View
from torchserve_saliency.responses.rendering import PixelBox, draw

Map = NDArray[np.float32]
Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 48, 64
BOX = (8, 4, 56, 44)


def colourful(height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """Return a colourful picture without very dark pixels."""
    down, across = np.mgrid[:height, :width]
    red, green = 80 + 150 * across / width, 80 + 150 * down / height
    return np.stack([red, green, 250 - red / 2], axis=-1).astype(np.uint8)


def bump(height: int = HEIGHT, width: int = WIDTH, at: tuple[float, float] = (0.5, 0.5)) -> Map:
    """Return a Gaussian map with its peak of 1 at a position given as fractions of (height, width)."""
    down, across = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(down - at[0] * height, across - at[1] * width)
    return np.exp(-((distance / (0.15 * width)) ** 2)).astype(np.float32)


def pixels_of(
    saliency: Map, render: str, picture: Pixels | None = None, inside: PixelBox | None = None, **view: object
) -> NDArray[np.int_]:
    """Return the pixels of the drawn picture, [H, W, 3 or 4], as signed integers."""
    under = colourful(*saliency.shape[-2:]) if picture is None else picture
    return np.asarray(draw(saliency, under, View(render=render, **view), inside), int)  # type: ignore[arg-type]


def colours_of(name: str, level: NDArray[np.floating] | float) -> NDArray[np.int_]:
    """Return Matplotlib's colours for levels in 0-1."""
    colours = matplotlib.colormaps[name](np.atleast_1d(level), bytes=True)[..., :3]
    return np.asarray(colours, int).reshape(*np.shape(level), 3)

"""Channels to a picture: a sheet of tiles, each in colours of its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency.colormap import paint, shade
from saliency.explanation import View

TILE = 64  # pixels of a tile's longer side at most, where its cells are enlarged
GAP = 2  # pixels between tiles


def sheet(channels: NDArray[np.float32], view: View) -> Image.Image:
    """Return maps [K, h, w] as tiles, row by row, about as many across as down; each spans its own values.

    Where any value is negative, all tiles have signed colours. The tiles show whole cells, unsmoothed.
    """
    count, height, width = channels.shape
    columns = math.ceil(math.sqrt(count))
    factor = max(1, TILE // max(height, width))
    across, down = factor * width + GAP, factor * height + GAP
    paper = Image.new("RGB", (columns * across - GAP, math.ceil(count / columns) * down - GAP), "white")
    signed = bool(channels.min() < 0)
    for number, channel in enumerate(channels):
        cells = Image.fromarray(paint(shade(channel, view, signed), view.colormap))
        tile = cells.resize((factor * width, factor * height), Image.Resampling.NEAREST)
        paper.paste(tile, (number % columns * across, number // columns * down))
    return paper

"""Several pictures in one: a row of pictures, and a grid of the channels of a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.responses.colormap import paint, shade
from torchserve_saliency.responses.explanation import View

TILE = 64  # longer side of a tile in pixels, at most, if its cells are enlarged
GAP = 2  # pixels between tiles


def concatenate(images: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Return pictures side by side, with transparent gaps of `gap` pixels between them.

    Pictures of one size without a gap can be split again at equal widths.
    """
    mode = "RGBA" if any(image.mode == "RGBA" for image in images) or (gap and len(images) > 1) else "RGB"
    width = sum(image.width + gap for image in images) - gap
    row = Image.new(mode, (width, max(image.height for image in images)))
    left = 0
    for image in images:
        row.paste(image.convert(mode), (left, 0))
        left += image.width + gap
    return row


def channel_grid(channels: NDArray[np.float32], view: View) -> Image.Image:
    """Return maps [K, h, w] as tiles in about as many rows as columns; each tile is scaled to its own values.

    The colours are signed in all tiles if any value is negative. The cells of a map are enlarged, not smoothed.
    """
    count, height, width = channels.shape
    columns = math.ceil(math.sqrt(count))
    factor = max(1, TILE // max(height, width))
    across, down = factor * width + GAP, factor * height + GAP
    grid = Image.new("RGB", (columns * across - GAP, math.ceil(count / columns) * down - GAP), "white")
    signed = bool(channels.min() < 0)
    for number, channel in enumerate(channels):
        cells = Image.fromarray(paint(shade(channel, view, signed), view.colormap))
        tile = cells.resize((factor * width, factor * height), Image.Resampling.NEAREST)
        grid.paste(tile, (number % columns * across, number // columns * down))
    return grid

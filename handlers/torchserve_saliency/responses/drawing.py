"""A map drawn for an answer: over the picture, as a grid of channels, or as a picture that a method made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.images.preprocessing import Picture, pixel_box
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.explanation import Explanation
from torchserve_saliency.responses.image_grid import channel_grid
from torchserve_saliency.responses.rendering import PixelBox, draw


def draw_map(saliency: NDArray[np.float32], explanation: Explanation) -> Image.Image:
    """Return a finite map drawn with the explanation's view."""
    if explanation.shows is Shows.CHANNELS:
        return channel_grid(saliency, explanation.view)
    if explanation.shows is Shows.INPUT:
        return explanation.picture.shown(saliency)
    pixels, inside = _background(explanation.picture, explanation.view.space)
    return draw(saliency, pixels, explanation.view, inside)


def _background(picture: Picture, space: str) -> tuple[NDArray[np.uint8], PixelBox | None]:
    """Return the picture's RGB pixels [H, W, 3] in a space, and the box that the network saw (None if it saw all)."""
    if space == "original":
        original = picture.original.convert("RGB")
        return np.asarray(original), pixel_box(picture.crop, original.width, original.height)
    if picture.pixels.shape[2] == 3:
        return picture.pixels, None
    grey = picture.pixels.mean(axis=2, keepdims=True).astype(np.uint8)
    return np.repeat(grey, 3, axis=2), None

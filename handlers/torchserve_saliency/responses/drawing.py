"""A map drawn for an answer: over the picture, as a grid of channels, or as a picture that a method made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.images.preprocessing import Picture, pixel_box
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.colormap import ColourScale
from torchserve_saliency.responses.explanation import Explanation, TargetMap
from torchserve_saliency.responses.image_grid import channel_grid
from torchserve_saliency.responses.rendering import PixelBox, draw, panel_scales


def draw_target(one: TargetMap, explanation: Explanation) -> Image.Image:
    """Return the finite map of a target, drawn with the explanation's view, and with its caption if it has one."""
    image = draw_map(one.saliency, explanation)
    if not explanation.view.caption:
        return image
    from torchserve_saliency.responses.caption import (  # its font is Matplotlib's, which is slow to load
        Panel,
        captioned,
    )

    return captioned(image, one, explanation, [Panel(*panel) for panel in _panels(one, explanation)])


def _panels(one: TargetMap, explanation: Explanation) -> tuple[tuple[str, ColourScale | None], ...]:
    """Return the name and the colours of each picture in a drawn map."""
    if explanation.shows is not Shows.SALIENCY:
        return (("", None),)
    values = one.saliency
    if explanation.view.space == "original":
        original = explanation.picture.original
        left, top, right, bottom = pixel_box(explanation.picture.crop, original.width, original.height)
        values = values[..., top:bottom, left:right]
    return panel_scales(values, explanation.view)


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

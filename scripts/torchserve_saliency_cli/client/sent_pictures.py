"""The picture that a client has sent, as maps are drawn over it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.decoding import read
from torchserve_saliency.images.input_spec import InputSpec
from torchserve_saliency.images.picture_kinds import NetworkInput
from torchserve_saliency.images.pixel_modes import to_channels
from torchserve_saliency.images.preprocessing import Picture

MOST_PIXELS = 1 << 28
Crop = tuple[float, float, float, float]


def sent_picture(data: bytes | Image.Image | NetworkInput | None, size: Mapping[str, Any], map_size: Any) -> Picture:
    """Return the picture that was sent, and its part under the maps, of `map_size` (height, width).

    `size` is the field `input` of the answer. A picture that this process cannot decode is grey.
    """
    width, height = int(size["width"]), int(size["height"])
    left, top, right, bottom = map(float, size["crop"])
    original = _decoded(data)
    if original is None or original.size != (width, height):
        original = Image.new("RGB", (width, height), "grey")
    crop = (left, top, right, bottom)
    rows, columns = (max(1, int(side)) for side in map_size)
    pixels = np.array(_cropped(original, crop, (columns, rows)))
    return Picture(original, pixels, crop, InputSpec(size=(rows, columns), resize=(rows, columns)))


def _decoded(data: bytes | Image.Image | NetworkInput | None) -> Image.Image | None:
    """Return a picture in RGB, or None if it cannot be decoded; a network's input is shown by its values."""
    try:
        if isinstance(data, np.ndarray):
            return _shown(data)
        image = read(data, MOST_PIXELS) if isinstance(data, bytes) else data
        return None if image is None else to_channels(image, 3)
    except RequestError:
        return None


def _shown(values: NetworkInput) -> Image.Image:
    """Return a network's input [C, H, W] as a picture, with its range of values from black to white."""
    channels = values if len(values) == 3 else np.repeat(values.mean(0, keepdims=True), 3, axis=0)
    low, high = float(channels.min()), float(channels.max())
    levels = (channels - low) * (255 / ((high - low) or 1.0))
    return Image.fromarray(np.rint(levels).astype(np.uint8).transpose(1, 2, 0))


def _cropped(image: Image.Image, crop: Crop, size: tuple[int, int]) -> Image.Image:
    """Return the part of an image inside a crop, resized to (width, height); it is black outside the image."""
    left, top, right, bottom = crop
    border = max(0, *(math.ceil(side - 1e-3) for side in (-left, -top, right - image.width, bottom - image.height)))
    if border:
        whole = Image.new("RGB", (image.width + 2 * border, image.height + 2 * border))
        whole.paste(image, (border, border))
    else:
        whole = image
    box = (left + border, top + border, right + border, bottom + border)
    inside = (max(0.0, box[0]), max(0.0, box[1]), min(float(whole.width), box[2]), min(float(whole.height), box[3]))
    return whole.resize(size, Image.Resampling.BILINEAR, box=inside)

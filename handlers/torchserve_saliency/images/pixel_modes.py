"""Conversion of every Pillow mode to the 8-bit channels of a network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.errors import RequestError

CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
OPAQUE_MODES = ("1", "L", "P", "RGB")


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return the image as L, RGB or RGBA for 1, 3 or 4 channels; the same object if no conversion is needed.

    Transparent pictures are composited on white unless the network has a fourth channel for alpha. Raise RequestError
    422 for any other number of channels.
    """
    mode = CHANNELS.get(channels)
    if mode is None:
        message = f"this model's input has {channels} channels; a picture has 1 (grey), 3 (RGB) or 4 (RGBA)"
        raise RequestError(422, "NoPictureInputException", message)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bits(image)
    if _is_transparent(image):
        image = _with_alpha(image) if channels == 4 else _composite_on_white(_with_alpha(image))
    elif image.mode not in OPAQUE_MODES:
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _with_alpha(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image
    return straight if straight.mode == "RGBA" else straight.convert("RGBA")


def _composite_on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of more than 8 bits (I, I;16*, F) as L, or as LA if one of its levels means transparent."""
    values = np.asarray(image)
    grey = Image.fromarray(
        _floats_to_8_bits(values) if image.mode == "F" else _integers_to_8_bits(values, _is_16_bit(image))
    )
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _is_16_bit(image: Image.Image) -> bool:
    """Tell if white is 65535; older releases of Pillow decode 16-bit PNG to the 32-bit mode I."""
    return image.mode.startswith("I;16") or image.format == "PNG"


def _integers_to_8_bits(values: NDArray[np.int32], sixteen: bool) -> NDArray[np.uint8]:
    """Return 16-bit levels divided by 257; 32-bit levels too, unless all of them are below 256."""
    if not sixteen and values.max() <= 255:
        return np.maximum(values, 0).astype(np.uint8)
    levels = np.minimum(np.maximum(values, 0), 65535).astype(np.int32)
    return ((levels + 128) // 257).astype(np.uint8)


def _floats_to_8_bits(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return floats as 8-bit levels: white is 1 if no value is above 1, else 255; values that are not finite are 0."""
    finite = np.where(np.isfinite(values), values, 0)
    scale = 255 if finite.max() <= 1 else 1
    levels: NDArray[np.uint8] = np.rint(np.clip(finite * scale, 0, 255)).astype(np.uint8)
    return levels

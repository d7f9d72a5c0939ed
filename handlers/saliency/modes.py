"""Every pixel mode that Pillow decodes to, made the 8-bit channels that a network takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency.errors import RequestError

CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
PLAIN = ("1", "L", "P", "RGB")


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return the image as L, RGB or RGBA for 1, 3 or 4 channels: itself, uncopied, where it is that already.

    Transparency is composited on white unless the network takes it as its fourth channel. RequestError 422
    for other counts of channels.
    """
    mode = CHANNELS.get(channels)
    if mode is None:
        message = f"this model's input has {channels} channels; a picture has 1 (grey), 3 (RGB) or 4 (RGBA)"
        raise RequestError(422, "NoPictureInputException", message)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if _is_transparent(image):
        image = _with_alpha(image) if channels == 4 else _on_white(_with_alpha(image))
    elif image.mode not in PLAIN:
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in ALPHA or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _with_alpha(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image
    return straight if straight.mode == "RGBA" else straight.convert("RGBA")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a deep grey image (I, I;16*, F) as L, or as LA where one level stands for transparency."""
    values = np.asarray(image)
    grey = Image.fromarray(_reals(values) if image.mode == "F" else _integers(values, _is_16_bit(image)))
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _is_16_bit(image: Image.Image) -> bool:
    """Return whether 65535 is white; older releases of Pillow decode the 16 bits of PNG to the 32 of I."""
    return image.mode.startswith("I;16") or image.format == "PNG"


def _integers(values: NDArray[np.int32], sixteen: bool) -> NDArray[np.uint8]:
    """Return levels of 16 bits divided by 257, and of 32 bits too unless all of them fit in 8."""
    if not sixteen and values.max() <= 255:
        return np.maximum(values, 0).astype(np.uint8)
    levels = np.minimum(np.maximum(values, 0), 65535).astype(np.int32)
    return ((levels + 128) // 257).astype(np.uint8)


def _reals(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return reals as levels: 0-1 where none is above 1, else 0-255; what is not finite is 0."""
    finite = np.where(np.isfinite(values), values, 0)
    scale = 255 if finite.max() <= 1 else 1
    levels: NDArray[np.uint8] = np.rint(np.clip(finite * scale, 0, 255)).astype(np.uint8)
    return levels

"""Conversion of every Pillow mode to the 8-bit channels of a network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.errors import RequestError

WHITE = 65535  # the level of a 16-bit picture that means 1.0
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
OPAQUE_MODES = ("1", "L", "P", "RGB")
BITS_PER_SAMPLE = 258  # the tag of a TIFF file


def to_channels(image: Image.Image, channels: int, white: int = WHITE, alpha: str = "white") -> Image.Image:
    """Return the image as L, RGB or RGBA for 1, 3 or 4 channels; the same object if no conversion is needed.

    Transparent pictures are composited on white unless the network has a fourth channel for alpha; see `InputSpec` for
    other values of `alpha`. Levels of more than 8 bits are rounded to 8; see `deep_levels` for `white`. Raise
    RequestError 422 for any other number of channels.
    """
    mode = CHANNELS.get(channels)
    if mode is None:
        raise no_picture_error(channels)
    if is_deep(image):
        image = _to_8_bits(image, white)
    if _is_transparent(image):
        image = _with_alpha(image) if channels == 4 else _opaque(image, alpha)
    elif image.mode not in OPAQUE_MODES:
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def no_picture_error(channels: int) -> RequestError:
    """Return the 422 for a picture that is sent to a network whose input is no picture."""
    message = (
        f"this model's input has {channels} channels; a picture has 1 (grey), 3 (RGB) or 4 (RGBA). Send the input as a "
        f"tensor of the KServe v2 protocol: datatype FP32, shape [N, {channels}, height, width], already preprocessed"
    )
    return RequestError(422, "NoPictureInputException", message)


def is_deep(image: Image.Image) -> bool:
    """Tell if the image is grey with more than 8 bits per pixel."""
    return image.mode == "F" or image.mode.startswith("I")


def deep_levels(image: Image.Image, white: int = WHITE) -> Image.Image:
    """Return a grey image of more than 8 bits as mode F, its levels in 0-1; transparent levels are white.

    `white` is the level that becomes 1; levels above it become 1, too. If it is the default, a file that announces
    fewer bits has its own white, integers of 32 bits of which none is above 255 have white at 255, and floats have it
    at 1 if none is above 1, else at 255. A float that is not finite becomes 0.
    """
    values = np.asarray(image)
    levels = _unit_floats(values, white) if image.mode == "F" else _unit_integers(values, _white(image, white))
    key = image.info.get("transparency")
    if isinstance(key, int):
        levels[values == key] = 1
    return Image.fromarray(levels)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _opaque(image: Image.Image, alpha: str) -> Image.Image:
    """Return a transparent picture as RGB; see `InputSpec` for the values of `alpha`."""
    if alpha == "key" and isinstance(image.info.get("transparency"), int | tuple):
        image = image.convert("RGB")  # the colour of the key is now that of the RGB picture
    if alpha == "white" or (alpha == "key" and image.mode == "RGB" and "transparency" in image.info):
        return on_white(_with_alpha(image))
    return _with_alpha(image).convert("RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image
    return straight if straight.mode == "RGBA" else straight.convert("RGBA")


def on_white(image: Image.Image) -> Image.Image:
    """Return an image as RGB, with the transparent pixels of mode RGBA on white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _to_8_bits(image: Image.Image, white: int) -> Image.Image:
    """Return a grey image of more than 8 bits as L, or as LA if one of its levels means transparent."""
    grey = rounded(deep_levels(image, white))
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8)))
    return grey


def rounded(levels: Image.Image) -> Image.Image:
    """Return an image of mode F with levels in 0-1 as L."""
    return Image.fromarray(np.rint(np.asarray(levels) * np.float32(255)).astype(np.uint8))


def _white(image: Image.Image, white: int) -> int:
    """Return the level of white of an image of integers."""
    if white != WHITE:
        return white
    if image.mode.startswith("I;16") or image.format == "PNG":  # older releases of Pillow decode 16-bit PNG to mode I
        return min((1 << bits_per_channel(image)) - 1, WHITE)
    return 255 if np.asarray(image).max() <= 255 else WHITE


def bits_per_channel(image: Image.Image) -> int:
    """Return the number of bits per channel that the header of a TIFF file states, else 16."""
    tags = getattr(image, "tag_v2", None)
    stated = tags.get(BITS_PER_SAMPLE) if tags is not None else None
    return int(max(stated)) if stated else 16


def _unit_integers(values: NDArray[np.int32], white: int) -> NDArray[np.float32]:
    return np.clip(values, 0, white).astype(np.float32) / np.float32(white)


def _unit_floats(values: NDArray[np.float32], white: int) -> NDArray[np.float32]:
    finite = np.where(np.isfinite(values), values, 0)
    if finite.max() > 1:
        finite = finite / np.float32(255 if white == WHITE else white)
    return np.clip(finite, 0, 1)

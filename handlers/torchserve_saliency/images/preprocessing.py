"""Preprocessing as in torchvision: decode, resize, centre-crop and normalise a picture to a network's input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.decoding import check_white, read
from torchserve_saliency.images.geometry import Axis, Box, centred, pixel_box, project, scaled_size
from torchserve_saliency.images.input_spec import INTERPOLATIONS, InputSpec
from torchserve_saliency.images.normalisation import as_levels, as_picture, normalise, normalise_levels
from torchserve_saliency.images.pixel_modes import (
    CHANNELS,
    deep_levels,
    is_deep,
    no_picture_error,
    rounded,
    to_channels,
)
from torchserve_saliency.images.resampling import resized_crop
from torchserve_saliency.images.tensor_resize import torch_resized_crop

__all__ = ["Box", "InputSpec", "Picture", "decode", "normalise", "pixel_box", "prepare", "project"]


@dataclass(frozen=True)
class Picture:
    """A decoded picture and the crop of it that is the network's input.

    `original` is upright (EXIF orientation applied), in mode L, RGB or RGBA for 1, 3 or 4 channels. `pixels` is the
    resized crop, uint8 [H, W, channels]. `crop` is (left, top, right, bottom) in pixels of `original`; it reaches
    outside the picture if the input is padded. `given` is an input that was sent already preprocessed. `levels` is
    the crop in 0-1, float32 [H, W, channels], of a grey picture of more than 8 bits; `pixels` is rounded from it.
    """

    original: Image.Image
    pixels: NDArray[np.uint8]
    crop: Box
    spec: InputSpec
    given: Tensor | None = None
    levels: NDArray[np.float32] | None = None

    @property
    def is_8_bit(self) -> bool:
        """Tell if the network's input is that of the pixels."""
        return self.given is None and self.levels is None

    @cached_property
    def tensor(self) -> Tensor:
        """Return the network's input on the CPU: float32 [channels, H, W], normalised."""
        if self.given is not None:
            return self.given
        if self.levels is not None:
            return normalise_levels(self.levels, self.spec)
        return normalise(torch.from_numpy(self.pixels)[None], self.spec)[0]

    def shown(self, values: NDArray[np.float32]) -> Image.Image:
        """Return another input of the network [C, H, W] as a picture."""
        return as_picture(values, self.spec)


def decode(data: bytes, spec: InputSpec, max_pixels: int) -> Picture:
    """Return the preprocessed picture of an image file.

    Raise RequestError 413 for more than `max_pixels`, 415 if the data is not a complete image in an accepted format,
    and 422 if the network does not have 1, 3 or 4 input channels.
    """
    if spec.channels not in CHANNELS:
        raise no_picture_error(spec.channels)
    image = read(data, max_pixels)
    check_white(image, data, spec.white)
    try:
        return prepare(image, spec)
    except (RequestError, MemoryError):
        raise
    except Exception as error:  # a corrupt palette is noticed only when its colours are looked up
        message = f"the picture was decoded, but its pixels (mode {image.mode}) cannot be converted"
        raise RequestError(415, "TruncatedImageException", message) from error


def prepare(image: Image.Image, spec: InputSpec) -> Picture:
    """Return the preprocessed picture of an upright image in any mode."""
    if is_deep(image) and spec.channels in (1, 3):
        return _prepare_deep(deep_levels(image, spec.white), spec)
    original = to_channels(image, spec.channels, spec.white, spec.alpha)
    across, down = _axes(original, spec)
    return Picture(original, _crop_pixels(original, across, down, spec), _crop_box(across, down), spec)


def _prepare_deep(image: Image.Image, spec: InputSpec) -> Picture:
    """Return the preprocessed picture of grey levels in 0-1, mode F, which are not rounded to 8 bits."""
    across, down = _axes(image, spec)
    levels = _crop_levels(image, across, down, spec)
    pixels = np.rint(np.clip(levels, 0, 1) * np.float32(255)).astype(np.uint8)
    original = rounded(image).convert(CHANNELS[spec.channels])
    return Picture(original, pixels, _crop_box(across, down), spec, levels=levels)


def _crop_box(across: Axis, down: Axis) -> Box:
    return across.at(0), down.at(0), across.at(across.crop), down.at(down.crop)


def grey(spec: InputSpec) -> Picture:
    """Return a picture of middle grey at the size of the network's input."""
    height, width = spec.size
    pixels = np.full((height, width, spec.channels), 128, np.uint8)
    shape = pixels if spec.channels in (3, 4) else pixels[..., 0]
    return Picture(Image.fromarray(shape), pixels, (0.0, 0.0, float(width), float(height)), spec)


def preprocessed(values: NDArray[np.float32], spec: InputSpec) -> Picture:
    """Return the picture of an input [C, H, W] that is already preprocessed and is used unchanged.

    If no mode of pictures has C channels, it is shown in grey, as the mean of its channels.
    """
    shown = as_picture(values, spec)
    box = (0.0, 0.0, float(shown.width), float(shown.height))
    return Picture(shown, as_levels(values, spec), box, spec, torch.from_numpy(values))


def _axes(image: Image.Image, spec: InputSpec) -> tuple[Axis, Axis]:
    """Return the resize and the crop of an image across and down."""
    width, height = scaled_size(*image.size, spec.resize, spec.fit)
    across = centred(image.width, width, spec.size[1], spec.crop_rounding)
    return across, centred(image.height, height, spec.size[0], spec.crop_rounding)


def _crop_pixels(image: Image.Image, across: Axis, down: Axis, spec: InputSpec) -> NDArray[np.uint8]:
    """Return the resized crop, uint8 [H, W, C], padded outside the picture."""
    (left, right), (top, bottom) = across.filled, down.filled
    shape = (bottom - top, right - left, spec.channels)
    seen = np.asarray(_resized_crop(image, across, down, spec)).reshape(shape)
    if shape[:2] == spec.size:
        return np.require(seen, requirements="W")
    pixels = np.empty((*spec.size, spec.channels), np.uint8)
    pixels[:] = spec.padding
    pixels[top:bottom, left:right] = seen
    return pixels


def _crop_levels(image: Image.Image, across: Axis, down: Axis, spec: InputSpec) -> NDArray[np.float32]:
    """Return the resized crop of a grey image in 0-1, float32 [H, W, C] with equal channels, padded outside it."""
    (left, right), (top, bottom) = across.filled, down.filled
    levels = np.empty((*spec.size, spec.channels), np.float32)
    levels[:] = np.array(spec.padding, np.float32) / np.float32(255)
    levels[top:bottom, left:right] = np.asarray(_resized_crop(image, across, down, spec))[..., None]
    return levels


def _resized_crop(image: Image.Image, across: Axis, down: Axis, spec: InputSpec) -> Image.Image | NDArray[np.generic]:
    """Return the part of the resized picture inside the crop."""
    if spec.resizer == "torch":
        return torch_resized_crop(image, across, down, spec.interpolation)
    return resized_crop(image, across, down, INTERPOLATIONS[spec.interpolation])

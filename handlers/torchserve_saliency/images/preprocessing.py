"""Preprocessing as in torchvision: decode, resize, centre-crop and normalise a picture to a network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.decoding import read
from torchserve_saliency.images.geometry import Axis, Box, centred, pixel_box, project, scaled_size
from torchserve_saliency.images.pixel_modes import to_channels

__all__ = ["Box", "InputSpec", "Picture", "decode", "normalise", "pixel_box", "prepare", "project"]

Resampling = Image.Resampling
INTERPOLATIONS = {
    "nearest": Resampling.NEAREST,
    "nearest-exact": Resampling.NEAREST,
    "box": Resampling.BOX,
    "bilinear": Resampling.BILINEAR,
    "hamming": Resampling.HAMMING,
    "bicubic": Resampling.BICUBIC,
    "lanczos": Resampling.LANCZOS,
}
STEP_FILTERS = (Resampling.NEAREST, Resampling.BOX)
WIDEST_FILTER = 3  # pixels to either side that Lanczos, the widest filter, reads
MOST_RESIZED_PIXELS = 1 << 24  # a picture of 1 x 60000 would be resized to 256 x 15 million
TALL_RATIO = 1.5


@dataclass(frozen=True)
class InputSpec:
    """The preprocessing of a network's input.

    A picture is resized to `resize`, either (shorter side,) or an exact (height, width), then centre-cropped to
    `size`, (height, width). `mean` and `std` hold one value per channel, for pixels in 0-1. Raise ValueError if the
    values are invalid or contradict each other.
    """

    size: tuple[int, int] = (224, 224)
    resize: tuple[int, ...] = (256,)
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        height, width = self.size
        if len(self.resize) not in (1, 2) or min(height, width, *self.resize) < 1:
            raise ValueError(f"size {self.size} needs two positive sides, resize {self.resize} one or two")
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise ValueError(f"interpolation {self.interpolation!r} is not one of {known}")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0 or not finite:
            raise ValueError(f"mean {self.mean} and std {self.std} need one value per channel, finite, std above 0")

    @property
    def channels(self) -> int:
        """Return the number of channels of the input."""
        return len(self.mean)

    @cached_property
    def pixel_line(self) -> tuple[Tensor, Tensor]:
        """Return 255 * mean and 255 * std, repeated for a line of pixels, float32 [W * C] each."""
        mean, std = (torch.tensor([255 * v for v in values]).repeat(self.size[1]) for values in (self.mean, self.std))
        return mean, std


@dataclass(frozen=True)
class Picture:
    """A decoded picture and the crop of it that is the network's input.

    `original` is upright (EXIF orientation applied), in mode L, RGB or RGBA for 1, 3 or 4 channels. `pixels` is the
    resized crop, uint8 [H, W, channels]. `crop` is (left, top, right, bottom) in pixels of `original`; it reaches
    outside the picture if the input is padded. `given` is an input that was sent already preprocessed.
    """

    original: Image.Image
    pixels: NDArray[np.uint8]
    crop: Box
    spec: InputSpec
    given: Tensor | None = None

    @cached_property
    def tensor(self) -> Tensor:
        """Return the network's input on the CPU: float32 [channels, H, W], normalised."""
        return normalise(torch.from_numpy(self.pixels)[None], self.spec)[0] if self.given is None else self.given

    def shown(self, values: NDArray[np.float32]) -> Image.Image:
        """Return another input of the network [C, H, W] as a picture."""
        return as_picture(values, self.spec)


def decode(data: bytes, spec: InputSpec, max_pixels: int) -> Picture:
    """Return the preprocessed picture of an image file.

    Raise RequestError 413 for more than `max_pixels`, 415 if the data is not a complete image in an accepted format,
    and 422 if the network does not have 1, 3 or 4 input channels.
    """
    image = read(data, max_pixels)
    try:
        original = to_channels(image, spec.channels)
    except RequestError:
        raise
    except Exception as error:  # a corrupt palette is noticed only when its colours are looked up
        message = f"the picture was decoded, but its pixels (mode {image.mode}) cannot be converted"
        raise RequestError(415, "TruncatedImageException", message) from error
    return _crop_picture(original, spec)


def prepare(image: Image.Image, spec: InputSpec) -> Picture:
    """Return the preprocessed picture of an upright image in any mode."""
    return _crop_picture(to_channels(image, spec.channels), spec)


def grey(spec: InputSpec) -> Picture:
    """Return a picture of middle grey at the size of the network's input."""
    height, width = spec.size
    pixels = np.full((height, width, spec.channels), 128, np.uint8)
    image = Image.fromarray(pixels[..., 0] if spec.channels == 1 else pixels)
    return Picture(image, pixels, (0.0, 0.0, float(width), float(height)), spec)


def preprocessed(values: NDArray[np.float32], spec: InputSpec) -> Picture:
    """Return the picture of an input [C, H, W] that is already preprocessed and is used unchanged."""
    shown = as_picture(values, spec)
    box = (0.0, 0.0, float(shown.width), float(shown.height))
    pixels = np.asarray(shown).reshape(*spec.size, spec.channels)
    return Picture(shown, pixels, box, spec, torch.from_numpy(values))


def as_picture(values: NDArray[np.float32], spec: InputSpec) -> Image.Image:
    """Return a network's input [C, H, W] as a picture, its levels clipped to 0-255."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (spec.mean, spec.std))
    with np.errstate(over="ignore"):
        levels = np.rint(np.clip(255 * (values * std + mean), 0, 255)).astype(np.uint8)
    return Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))


def _crop_picture(original: Image.Image, spec: InputSpec) -> Picture:
    """Return the picture of an upright image that already has the network's channels: resized and cropped."""
    scaled = scaled_size(*original.size, spec.resize)
    across = centred(original.width, scaled[0], spec.size[1])
    down = centred(original.height, scaled[1], spec.size[0])
    pixels = _crop_pixels(original, across, down, spec)
    crop = (across.at(0), down.at(0), across.at(across.crop), down.at(down.crop))
    return Picture(original, pixels, crop, spec)


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return (pixels / 255 - mean) / std, float32 [n, C, H, W] in channels-last memory, of uint8 [n, H, W, C]."""
    n, height, width, channels = pixels.shape
    mean, std = (pixel_line.to(pixels.device) for pixel_line in spec.pixel_line)
    rows = pixels.reshape(n, height, -1).sub(mean).div_(std)  # long rows vectorise best
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


def _crop_pixels(image: Image.Image, across: Axis, down: Axis, spec: InputSpec) -> NDArray[np.uint8]:
    """Return the resized crop [H, W, C], black outside the picture."""
    (left, right), (top, bottom) = across.filled, down.filled
    pixels = np.zeros((*spec.size, spec.channels), np.uint8)
    seen = np.asarray(_resample(image, across, down, spec))
    pixels[top:bottom, left:right] = seen.reshape(bottom - top, right - left, spec.channels)
    return pixels


def _resample(image: Image.Image, across: Axis, down: Axis, spec: InputSpec) -> Image.Image:
    """Return the part of the resized image inside the crop; other pixels are computed only if exactness needs them."""
    resample = INTERPOLATIONS[spec.interpolation]
    (left, right), (top, bottom) = across.filled, down.filled
    if _must_resize_whole(image, across, down, spec):
        x, y = across.offset, down.offset
        whole = image.resize((across.scaled, down.scaled), resample)
        return whole.crop((left + x, top + y, right + x, bottom + y))
    (x, right_end), (y, bottom_end) = across.reach(WIDEST_FILTER), down.reach(WIDEST_FILTER)
    near = image.crop((x, y, right_end, bottom_end))
    (x0, x1), (y0, y1) = across.source, down.source
    wide = near.resize((right - left, near.height), resample, (x0 - x, 0, x1 - x, near.height))
    return wide.resize((right - left, bottom - top), resample, (0, y0 - y, right - left, y1 - y))


def _must_resize_whole(image: Image.Image, across: Axis, down: Axis, spec: InputSpec) -> bool:
    """Tell if only a resize of the whole picture is rounded as in torchvision's pipeline.

    This is so for step filters, as one rounding selects the pixel; for alpha, which is premultiplied and divided out
    again; and for tall or distorted pictures, as Pillow 13 resizes their height before their width.
    """
    if across.scaled * down.scaled > MOST_RESIZED_PIXELS:
        return False
    is_distorted = len(spec.resize) == 2 or image.height > TALL_RATIO * image.width
    return is_distorted or spec.channels == 4 or INTERPOLATIONS[spec.interpolation] in STEP_FILTERS

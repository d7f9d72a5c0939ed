"""Normalisation of pixels to a network's input, with the same operations in the same order as in torchvision."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchserve_saliency.images.input_spec import RESCALE, InputSpec
from torchserve_saliency.images.pixel_modes import CHANNELS


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return the input, float32 [n, C, H, W] in channels-last memory, of levels uint8 [n, H, W, C].

    It is (pixels / 255 - mean) / std, rounded to float32 after each operation, or as `spec.normalisation` says.
    """
    n, height, width, channels = pixels.shape
    ordered = pixels.flip(-1) if spec.channel_order == "bgr" else pixels
    rows = _rescaled(ordered.reshape(n, height, -1), spec)  # long rows vectorise best
    return _standardised(rows, spec).view(n, height, width, channels).permute(0, 3, 1, 2)


def normalise_levels(levels: NDArray[np.float32], spec: InputSpec) -> Tensor:
    """Return the input, float32 [C, H, W] in channels-last memory, of levels in 0-1, float32 [H, W, C].

    All channels of a pixel are equal, so that their order does not matter.
    """
    height, width, channels = levels.shape
    rows = torch.from_numpy(levels).reshape(height, -1).clone()
    if spec.normalisation == "fused":
        rows.mul_(255)
    elif spec.rescale != RESCALE:
        rows.mul_(255 * spec.rescale)
    return _standardised(rows, spec).view(height, width, channels).permute(2, 0, 1)


def _rescaled(rows: Tensor, spec: InputSpec) -> Tensor:
    """Return the levels as float32, multiplied by `spec.rescale` unless the normalisation is fused."""
    if spec.normalisation == "fused":
        return rows.to(torch.float32)
    if spec.normalisation == "scaled":
        return rows.to(torch.float32).mul_(spec.rescale)
    if spec.rescale == RESCALE:
        # the divisor is a tensor, because CUDA multiplies by the reciprocal of a Python number
        return rows.to(torch.float32).div_(torch.full((), 255.0, device=rows.device))
    return (rows.to(torch.float64) * spec.rescale).to(torch.float32)


def _standardised(rows: Tensor, spec: InputSpec) -> Tensor:
    """Return the rescaled rows [..., W * C] minus the mean, over the standard deviations, computed in place."""
    mean, *stds = (line.to(rows.device) for line in spec.pixel_line)
    if spec.offset:
        rows.sub_(spec.offset)
    rows.sub_(mean)
    for std in stds:
        rows.div_(std)
    return rows


def as_picture(values: NDArray[np.float32], spec: InputSpec) -> Image.Image:
    """Return a network's input [C, H, W] as a picture, its levels clipped to 0-255.

    If no mode of pictures has C channels, the picture is grey: the mean of the channels.
    """
    levels = as_levels(values, spec)
    if spec.channels not in CHANNELS:
        return Image.fromarray(levels.mean(axis=2).round().astype(np.uint8))
    return Image.fromarray(levels[..., 0] if spec.channels == 1 else levels)


def as_levels(values: NDArray[np.float32], spec: InputSpec) -> NDArray[np.uint8]:
    """Return the levels, uint8 [H, W, C] in the order RGB, of a network's input [C, H, W], clipped to 0-255."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (spec.unit_mean, spec.unit_std))
    with np.errstate(over="ignore"):
        levels = np.rint(np.clip((values * std + mean) * 255, 0, 255)).astype(np.uint8)
    pixels = levels.transpose(1, 2, 0)
    return np.ascontiguousarray(pixels[..., ::-1] if spec.channel_order == "bgr" else pixels)

"""The centre crop of a picture that is resized as a tensor of 8-bit levels, with antialiasing, by torchvision."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.geometry import Axis
from torchserve_saliency.images.resampling import resized_crop

MOST_RESIZED_PIXELS = 1 << 26


def torch_resized_crop(image: Image.Image, across: Axis, down: Axis, interpolation: str) -> NDArray[np.generic]:
    """Return the part of the resized image inside the crop, [H, W] or [H, W, C].

    The picture is resized whole, as the processors do whose results this reproduces. Raise RequestError 413 if that
    needs too much memory. Releases of torchvision before 0.27 have no `lanczos` for tensors: Pillow's is used instead.
    """
    if interpolation == "lanczos" and not _resizes_lanczos():
        return np.asarray(resized_crop(image, across, down, Image.Resampling.LANCZOS))
    if across.scaled * down.scaled > MOST_RESIZED_PIXELS:
        message = f"the picture is {across.length} x {down.length} pixels, too long and narrow to be resized"
        raise RequestError(413, "PictureTooLargeException", message)
    levels = torch.from_numpy(np.array(image)).reshape(down.length, across.length, -1).permute(2, 0, 1)
    if (across.length, down.length) != (across.scaled, down.scaled):
        planes = levels if _is_layout_free() else levels.contiguous()
        levels = _resize(planes, (down.scaled, across.scaled), interpolation)
    (left, right), (top, bottom) = across.filled, down.filled
    x, y = across.offset, down.offset
    pixels = levels[:, top + y : bottom + y, left + x : right + x].permute(1, 2, 0).contiguous().numpy()
    return pixels[..., 0] if image.mode in ("L", "F") else pixels


def _resize(levels: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Return a tensor [C, H, W] resized to (height, width)."""
    from torchvision.transforms.v2 import InterpolationMode, functional  # takes a second, and few archives need it

    resized: Tensor = functional.resize(levels, list(size), InterpolationMode(interpolation), antialias=True)
    return resized


def _is_layout_free() -> bool:
    """Tell if tensors in channels-last memory are resized to the same levels; it takes half the time.

    That is so for torch's routine for 8-bit levels. Other processors compute in float32.
    """
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@cache
def _resizes_lanczos() -> bool:
    """Tell if the installed torchvision resizes tensors with the filter `lanczos`."""
    try:
        _resize(torch.zeros(3, 4, 4, dtype=torch.uint8), (2, 2), "lanczos")
    except (NotImplementedError, RuntimeError, ValueError):
        return False
    return True

"""The pictures that an archive is checked on: generated ones, or some of a folder's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchserve_saliency.images.pixel_modes import CHANNELS
from torchserve_saliency.images.preprocessing import InputSpec, decode

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


def generated_picture(spec: InputSpec, seed: int = 0) -> bytes:
    """Return a seeded PNG of coarse colours with fine noise, a third wider than the input.

    No pixel is clipped: equal values would tie in a max pooling, and the slope there depends on the direction.
    """
    generator = np.random.default_rng(seed)
    height, width = spec.size[0], spec.size[1] * 4 // 3
    colours = Image.fromarray(generator.integers(64, 192, (5, 7, 3), dtype=np.uint8)).resize((width, height))
    noisy = np.asarray(colours) + generator.normal(0, 12, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def generated_input(spec: InputSpec, seed: int = 0) -> bytes | Tensor:
    """Return a generated picture; if no picture has so many channels, return an input [C, H, W] of soft noise."""
    if spec.channels in CHANNELS:
        return generated_picture(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, spec.channels, 5, 7, generator=generator)
    fine = torch.randn(spec.channels, *spec.size, generator=generator)
    return torch.nn.functional.interpolate(coarse, spec.size, mode="bicubic")[0] + 0.25 * fine


def network_input(picture: bytes | Tensor, spec: InputSpec, max_pixels: int) -> Tensor:
    """Return a picture, or an input [C, H, W] that is returned unchanged, as the network's input [1, C, H, W]."""
    return (decode(picture, spec, max_pixels).tensor if isinstance(picture, bytes) else picture)[None]


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder, sorted by their names."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def pictures_below(folder: Path) -> list[Path]:
    """Return the pictures in a folder and in all of its subfolders, sorted by their paths."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES)


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Return at most `count` of the files, evenly spaced."""
    return [files[i * len(files) // count] for i in range(count)] if len(files) > count else list(files)

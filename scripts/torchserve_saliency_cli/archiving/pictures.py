"""The pictures that an archive is checked on: generated ones, or some of a folder's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from torchserve_saliency.images.preprocessing import InputSpec

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})


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


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder, sorted by their names."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Return at most `count` of the files, evenly spaced."""
    return [files[i * len(files) // count] for i in range(count)] if len(files) > count else list(files)

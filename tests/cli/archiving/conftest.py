"""Fixtures of the tests of archiving: the package transformers, and pictures for its image processors."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from PIL import Image

SIZES = [
    ("RGB", 97, 64),
    ("RGB", 31, 150),
    ("L", 41, 60),
    ("RGBA", 50, 51),
    ("P", 33, 34),
    ("LA", 64, 63),
    ("RGB", 1, 1),
]


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Return pictures of several modes and sizes, one with a transparent colour."""
    drawn = [noise(*size) for size in SIZES]
    keyed = noise("RGB", 60, 45)
    keyed.info["transparency"] = keyed.getpixel((0, 0))
    return [*drawn, keyed]


def noise(mode: str, width: int, height: int) -> Image.Image:
    levels = np.random.default_rng((width, height)).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(levels).convert(mode)

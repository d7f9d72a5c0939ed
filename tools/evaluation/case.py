"""A picture for which maps are made and measured."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A picture of the size of the network's input, the target classes, and the position of their evidence.

    `masks` holds one boolean mask [H, W] per target, or nothing if the positions are unknown. `seed` is the seed of
    everything random about the case.
    """

    image: Image.Image
    targets: tuple[int | str, ...]
    masks: tuple[Mask, ...] = ()
    seed: int = 0

    @property
    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()

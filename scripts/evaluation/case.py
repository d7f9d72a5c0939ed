"""A picture that maps are made of and measured on."""

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
    """A picture as large as the network's input, the classes asked for, and where each one's evidence lies.

    `masks` holds a bool [H, W] a target where that is known, else nothing; `seed` draws what is drawn for the case.
    """

    image: Image.Image
    targets: tuple[int | str, ...]
    masks: tuple[Mask, ...] = ()
    seed: int = 0

    @property
    def png(self) -> bytes:
        """Return the picture's file."""
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()

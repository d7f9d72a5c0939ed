"""How well a map [H, W] lies where it should."""

from __future__ import annotations

import numpy as np

from scripts.evaluation.case import Map, Mask

TOLERANCE = 3


def points(saliency: Map, mask: Mask, tolerance: int = TOLERANCE) -> bool:
    """Return whether the greatest value of a map is within `tolerance` pixels of a mask.

    A map without a greatest value (all values equal) does not point.
    """
    if saliency.max() == saliency.min():
        return False
    row, column = np.unravel_index(int(saliency.argmax()), saliency.shape)
    rows, columns = np.nonzero(mask)
    return bool(np.any((rows - row) ** 2 + (columns - column) ** 2 <= tolerance**2))


def share(saliency: Map, mask: Mask) -> float:
    """Return the part of a map's positive values that lies inside a mask, 0 for a map without any."""
    strength = np.maximum(saliency, 0, dtype=np.float64)
    total = float(strength.sum())
    return float(strength[mask].sum()) / total if total > 0 else 0.0

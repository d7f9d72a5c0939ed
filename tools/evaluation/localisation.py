"""Measures of the position of a map [H, W] relative to a mask."""

from __future__ import annotations

import numpy as np

from tools.evaluation.case import Map, Mask

TOLERANCE = 3


def points(saliency: Map, mask: Mask, tolerance: int = TOLERANCE) -> bool:
    """Return whether the greatest value of a map is at most `tolerance` pixels away from a mask.

    A constant map does not point anywhere.
    """
    if saliency.max() == saliency.min():
        return False
    row, column = np.unravel_index(int(saliency.argmax()), saliency.shape)
    rows, columns = np.nonzero(mask)
    return bool(np.any((rows - row) ** 2 + (columns - column) ** 2 <= tolerance**2))


def share(saliency: Map, mask: Mask) -> float:
    """Return the share of a map's positive values that lies inside a mask, or 0 if no value is positive."""
    strength = np.maximum(saliency, 0, dtype=np.float64)
    total = float(strength.sum())
    return float(strength[mask].sum()) / total if total > 0 else 0.0

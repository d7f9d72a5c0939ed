"""How alike two saliency maps are, and how complex one is; numpy alone, in float64."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Map = NDArray[np.float64]
WINDOW = 7  # pixels a side, as scikit-image's
BINS = 100
CLIP = 99.5  # percentile, as the pictures of maps are clipped by default


def spearman(first: Map, second: Map) -> float:
    """Return the rank correlation (Spearman 1904) of two maps, ties at their mean rank; 0 where one is constant."""
    a, b = (ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second)))
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale else 0.0


def _ranks(values: Map) -> Map:
    """Return every value's rank, flat."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Map = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]
    return ranks


def ssim(first: Map, second: Map) -> float:
    """Return the structural similarity (Wang et al. 2004) of two maps [H, W] as they would be shown.

    Both are scaled to 0-1; means and sample variances are those of square windows, K1 = 0.01 and K2 = 0.03.
    """
    side = min(WINDOW, *first.shape)
    (m1, v1), (m2, v2) = (_moments(shown, shown, side) for shown in (as_shown(first), as_shown(second)))
    _, covariance = _moments(as_shown(first), as_shown(second), side)
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * m1 * m2 + c1) * (2 * covariance + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))
    return float(values.mean())


def as_shown(values: Map) -> Map:
    """Return a map that is not negative scaled to 0-1, clipped at its upper percentile; 0 where there is nothing."""
    top = np.percentile(values, CLIP) or values.max()
    shown: Map = (values / top).clip(0, 1) if top else np.zeros_like(values)
    return shown


def _moments(first: Map, second: Map, side: int) -> tuple[Map, Map]:
    """Return the first map's mean and the two maps' sample covariance in every window."""
    mean, other, product = (_window_means(m, side) for m in (first, second, first * second))
    cells = side * side
    return mean, (product - mean * other) * cells / max(1, cells - 1)


def _window_means(values: Map, side: int) -> Map:
    """Return the means of all windows that lie within the map."""
    means: Map = sliding_window_view(values, (side, side)).mean((2, 3))
    return means


def complexity(values: Map) -> float:
    """Return the entropy, in bits, of a map's histogram: what eMPRT (Hedström et al. 2024) calls its complexity."""
    counts, _ = np.histogram(as_shown(values), BINS, (0.0, 1.0))
    shares = counts[counts > 0] / values.size
    return float(-(shares * np.log2(shares)).sum())

"""The similarity of two saliency maps [H, W] and the complexity of one, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy, spearmanr
from skimage.metrics import structural_similarity

Map = NDArray[np.float64]
WINDOW = 7  # side of the windows of SSIM in pixels, the default of scikit-image
BINS = 100
CLIP = 99.5  # percentile at which pictures of maps are clipped by default


def spearman(first: Map, second: Map) -> float:
    """Return the rank correlation (Spearman 1904) of two maps, 0 if one of them is constant.

    Tied values share their mean rank.
    """
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def ssim(first: Map, second: Map) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of two maps, each scaled to 0-1 as in its picture.

    The windows are 7 pixels wide; if a map is smaller than that, they have the largest odd side that fits.
    """
    fitting = min(WINDOW, *first.shape)
    side = fitting - (fitting + 1) % 2
    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        scaled(first), scaled(second), win_size=side, data_range=1.0, use_sample_covariance=side > 1
    )
    return float(similarity)


def scaled(values: Map) -> Map:
    """Return a non-negative map scaled to 0-1 and clipped at its upper percentile, or unchanged if it is all zeros."""
    top = np.percentile(values, CLIP) or values.max()
    return np.asarray((values / top).clip(0, 1) if top else np.zeros_like(values), np.float64)


def complexity(values: Map) -> float:
    """Return the entropy of a map's histogram in bits, its complexity in eMPRT (Hedström et al. 2024)."""
    counts, _ = np.histogram(scaled(values), BINS, (0.0, 1.0))
    return float(entropy(counts, base=2))

"""Maps smoothed for display; the saliency that is sent is never smoothed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]

FINEST = 512  # pixels of the longer side on which maps are smoothed: finer than a smoothed map's detail


def smooth(saliency: Map, sigma: float) -> Map:
    """Return a finite map [..., H, W] over its greatest magnitude, under a Gaussian of `sigma` × its width.

    It comes back as [..., h, w], at most FINEST pixels a side: a large map is averaged down first.
    """
    scaled = saliency / (np.abs(saliency).max() or np.float32(1))
    channels = [_reduce(channel) for channel in scaled.reshape(-1, *scaled.shape[-2:])]
    height, width = channels[0].shape
    rows, columns = _gaussian(height, sigma * width), _gaussian(width, sigma * width)
    # by torch: numpy's BLAS has threads of its own, which spin on and slow the next forward pass
    blurred: Map = (rows @ torch.from_numpy(np.stack(channels)) @ columns.T).numpy()
    blurred = np.round(blurred, 6)  # what is smaller is float32 rounding, not to be stretched into colours
    return blurred.reshape(*saliency.shape[:-2], height, width)


def resize(values: Map, size: tuple[int, int]) -> Map:
    """Return a map [h, w] at another (width, height), bicubic."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC), np.float32)


def _reduce(channel: Map) -> Map:
    """Return a map [H, W] averaged down to at most FINEST pixels a side."""
    height, width = channel.shape
    factor = max(1.0, max(height, width) / FINEST)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BOX), np.float32)


def _gaussian(length: int, sigma: float) -> torch.Tensor:
    """Return the matrix [length, length] that smooths a line; the weights sum to 1 at its ends, too."""
    distance = np.arange(length)[:, None] - np.arange(length)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return torch.from_numpy((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))

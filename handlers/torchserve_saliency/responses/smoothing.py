"""Smoothing and resizing of maps for display; the saliency values of an answer are never smoothed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]

FINEST = 512  # longer side in pixels of the maps that are smoothed: enough for the detail of a smoothed map


def smooth(saliency: Map, sigma: float) -> Map:
    """Return a finite map [..., H, W], divided by its largest magnitude, and smoothed by a Gaussian of `sigma` × W.

    The result is [..., h, w] with at most FINEST pixels per side: a large map is reduced by averaging first.
    """
    scaled = saliency / (np.abs(saliency).max() or np.float32(1))
    channels = [_reduce(channel) for channel in scaled.reshape(-1, *scaled.shape[-2:])]
    height, width = channels[0].shape
    rows, columns = _gaussian(height, sigma * width), _gaussian(width, sigma * width)
    # by torch, as the threads of numpy's BLAS keep spinning and slow down the next forward pass
    blurred: Map = (rows @ torch.from_numpy(np.stack(channels)) @ columns.T).numpy()
    blurred = np.round(blurred, 6)  # smaller values are rounding errors of float32, and must not become colours
    return blurred.reshape(*saliency.shape[:-2], height, width)


def resize(values: Map, size: tuple[int, int]) -> Map:
    """Return a map [h, w] resized to (width, height), with bicubic interpolation."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC), np.float32)


def _reduce(channel: Map) -> Map:
    """Return a map [H, W] reduced by averaging to at most FINEST pixels per side."""
    height, width = channel.shape
    factor = max(1.0, max(height, width) / FINEST)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BOX), np.float32)


def _gaussian(length: int, sigma: float) -> torch.Tensor:
    """Return the matrix [length, length] that smooths a row or column; its weights sum to 1, also at the borders."""
    distance = np.arange(length)[:, None] - np.arange(length)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return torch.from_numpy((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))

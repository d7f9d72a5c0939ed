"""Gaussian blur of any width by matrix products, for many scales of a picture at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_REACH = 8  # standard deviations at which a Gaussian is 1e-14 of its peak


class ScaleSpace:
    """The scale space of a picture [1, C, H, W] with mirrored edges, so that blurring keeps its mean.

    Gaussian blur of a mirrored picture multiplies each coefficient of its cosine transform (DCT-II) by a factor. The
    picture is therefore transformed once, and each scale costs two matrix products, for any width.
    """

    def __init__(self, x: Tensor) -> None:
        self._rows, self._columns = (_cosines(side).to(x) for side in x.shape[2:])
        self._spectrum = self._rows @ x @ self._columns.T

    def at(self, sigmas: Tensor) -> Tensor:
        """Return the picture blurred with standard deviations [n] in pixels, as [n, C, H, W]; 0 leaves it unchanged."""
        return self._picture(self._factors(sigmas))

    def differences(self, sigmas: Tensor) -> Tensor:
        """Return each scale minus the next one, [n - 1, C, H, W] for standard deviations [n].

        The subtraction is done in the transformed domain, which avoids cancellation between neighbouring scales.
        """
        factors = self._factors(sigmas)
        return self._picture(factors[:-1] - factors[1:])

    def _factors(self, sigmas: Tensor) -> Tensor:
        """Return the factor of each cosine coefficient for each standard deviation, [n, 1, H, W]."""
        down, across = (_response(matrix.shape[0], sigmas) for matrix in (self._rows, self._columns))
        return (down[:, None, :, None] * across[:, None, None, :]).to(self._spectrum)

    def _picture(self, factors: Tensor) -> Tensor:
        return self._rows.T @ (self._spectrum * factors) @ self._columns


def _cosines(length: int) -> Tensor:
    """Return the orthonormal DCT-II matrix, float64 [length, length], one frequency per row."""
    positions = torch.arange(length, dtype=torch.float64)
    waves = torch.cos(math.pi / length * positions[:, None] * (positions + 0.5)) * math.sqrt(2 / length)
    waves[0] /= math.sqrt(2)
    return waves


def _response(length: int, sigmas: Tensor) -> Tensor:
    """Return the factors [n, length] by which sampled Gaussians, with weights that sum to 1, scale each cosine."""
    widths = sigmas.cpu().double().clamp_min(1e-3)[:, None]  # a narrower sampled Gaussian is a single weight
    offsets = torch.arange(1, math.ceil(_REACH * float(widths.max())) + 1, dtype=torch.float64)
    weights = 2 * torch.exp(-0.5 * (offsets / widths).square())
    waves = torch.cos(math.pi / length * offsets[:, None] * torch.arange(length))
    return (1 + weights @ waves) / (1 + weights.sum(1, keepdim=True))

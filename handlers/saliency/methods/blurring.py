"""Gaussian blur of any width by matrix products: a picture's scale space, many scales at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_REACH = 8  # deviations beyond which a Gaussian is 1e-14 of its height


class ScaleSpace:
    """A picture [1, C, H, W] at any scale, mirrored at its edges: what is blurred keeps its mean, and nothing darkens.

    The mirrored picture is a sum of cosines, of which a Gaussian scales each by a factor of its own. So the picture is
    transformed once, and a scale costs two matrix products, however wide it is.
    """

    def __init__(self, x: Tensor) -> None:
        self._rows, self._columns = (_cosines(side).to(x) for side in x.shape[2:])
        self._spectrum = self._rows @ x @ self._columns.T

    def at(self, sigmas: Tensor) -> Tensor:
        """Return the picture blurred by Gaussians of these deviations [n] in pixels, [n, C, H, W]; 0 is itself."""
        return self._picture(self._factors(sigmas))

    def differences(self, sigmas: Tensor) -> Tensor:
        """Return what each scale has more than the next one, [n - 1, C, H, W] of the deviations [n].

        It is subtracted before it is a picture, so that neighbouring scales do not cancel.
        """
        factors = self._factors(sigmas)
        return self._picture(factors[:-1] - factors[1:])

    def _factors(self, sigmas: Tensor) -> Tensor:
        """Return what Gaussians leave of each cosine, [n, 1, H, W]."""
        down, across = (_response(matrix.shape[0], sigmas) for matrix in (self._rows, self._columns))
        return (down[:, None, :, None] * across[:, None, None, :]).to(self._spectrum)

    def _picture(self, factors: Tensor) -> Tensor:
        return self._rows.T @ (self._spectrum * factors) @ self._columns


def _cosines(length: int) -> Tensor:
    """Return the orthonormal cosine transform of a line, float64 [length, length], a frequency a row (DCT-II)."""
    positions = torch.arange(length, dtype=torch.float64)
    waves = torch.cos(math.pi / length * positions[:, None] * (positions + 0.5)) * math.sqrt(2 / length)
    waves[0] /= math.sqrt(2)
    return waves


def _response(length: int, sigmas: Tensor) -> Tensor:
    """Return what sampled Gaussians, their weights summing to 1, leave of each cosine of a line: [n, length]."""
    widths = sigmas.cpu().double().clamp_min(1e-3)[:, None]  # narrower than that, a Gaussian is its centre alone
    offsets = torch.arange(1, math.ceil(_REACH * float(widths.max())) + 1, dtype=torch.float64)
    weights = 2 * torch.exp(-0.5 * (offsets / widths).square())
    waves = torch.cos(math.pi / length * offsets[:, None] * torch.arange(length))
    return (1 + weights @ waves) / (1 + weights.sum(1, keepdim=True))

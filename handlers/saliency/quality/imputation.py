"""Removed pixels filled by their neighbours: ROAD's noisy linear imputation, all masks of a picture together."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.methods.baselines import seeded

NOISE = 0.01  # standard deviation of what is added to filled pixels, in units of the input
SWEEPS = 6  # of conjugate gradients on a grid at least, and
REACH = 6 * 224  # over its longer side, so that twice as many are made on a grid half as fine,
MOST_SWEEPS = 96  # but no more than these


def impute(x: Tensor, removed: Tensor, seed: int) -> Tensor:
    """Return `x` [1, C, H, W] with its removed pixels [n, H, W] filled, as [n, C, H, W] (Rong et al. 2022).

    A filled pixel is the mean of its neighbours, those beside it weighing twice those at its corners, and a little
    noise, the same for every mask.
    """
    noise = NOISE * torch.randn(x.shape, generator=seeded(seed, x), dtype=x.dtype, device=x.device)
    mask = removed[:, None]
    return torch.where(mask, filled(x, mask) + noise, x)


def filled(x: Tensor, removed: Tensor, sweeps: int = SWEEPS) -> Tensor:
    """Return `x` [1, C, H, W] with every pixel of `removed` [n, 1, H, W] near the mean of its neighbours, [n, C, H, W].

    The linear system is solved from coarse grids to fine ones, a fixed number of conjugate-gradient sweeps on each
    (cascadic: Bornemann and Deuflhard 1996), so that wide gaps need no more sweeps on the finest grid than narrow ones.
    """
    grids = list(_grids(x, ~removed))
    values, weight = grids[-1]
    estimate = (values.sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)).expand_as(values)
    for values, weight in reversed(grids):
        gap = (weight == 0).to(x)
        known = values / weight.where(weight > 0, 1) * (1 - gap)
        if estimate.shape != values.shape:
            estimate = F.interpolate(estimate, size=values.shape[2:], mode="bilinear", align_corners=False)
        estimate = known + _solved(
            known, gap, gap * estimate, max(sweeps, min(MOST_SWEEPS, REACH // max(gap.shape[2:])))
        )
    return estimate


def _grids(x: Tensor, known: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield sums of known pixels and their share, [n, C, h, w] and [n, 1, h, w], each grid half as fine as the last."""
    weight = known.to(x)
    values = x * weight
    yield values, weight
    while max(values.shape[2:]) > 4:
        values, weight = (F.avg_pool2d(grid, 2, ceil_mode=True, count_include_pad=False) for grid in (values, weight))
        yield values, weight


def _solved(known: Tensor, gap: Tensor, start: Tensor, sweeps: int) -> Tensor:
    """Return the gaps' values [n, C, h, w], 0 elsewhere, after so many sweeps from `start`, which is 0 there, too."""
    weights = _around(torch.ones_like(known[:1, :1]))  # of the neighbours that a pixel has: fewer at the edge
    solution = start
    rest = gap * (_around(known + solution) - weights * solution)
    scaled = rest / weights
    direction, size = scaled, _dot(rest, scaled)
    for _ in range(sweeps):
        image = gap * (weights * direction - _around(direction))
        step = _ratio(size, _dot(direction, image))
        solution = solution + step * direction
        rest = rest - step * image
        scaled = rest / weights
        before, size = size, _dot(rest, scaled)
        direction = scaled + _ratio(size, before) * direction
    return solution


def _around(values: Tensor) -> Tensor:
    """Return the sum of each pixel's neighbours [n, C, h, w], a sixth of those beside it, a twelfth of the corners."""
    wide = F.pad(values, (1, 1, 1, 1))
    rows = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 12 - values / 3


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((2, 3), keepdim=True)


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Return one / other, 0 where the system is solved and nothing is left to divide by."""
    return one / other.where(other > 1e-30, torch.inf)

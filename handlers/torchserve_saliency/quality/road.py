"""ROAD (remove and debias): removed pixels are imputed from their neighbours, so that masks leave no visible trace."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.methods.baselines import seeded
from torchserve_saliency.quality.judged import SEED, Judged, ScoreSteps

NOISE = 0.01  # standard deviation of the noise added to imputed pixels, in units of the input
FEWEST_STEPS = 6  # fewest conjugate-gradient steps on a grid
STEPS_TIMES_SIDE = 6 * 224  # steps times the longer side of a grid: a grid half as fine gets twice as many steps
MOST_STEPS = 96  # most conjugate-gradient steps on a grid

SHARES = (0.2, 0.4, 0.6, 0.8)  # shares of the pixels that are removed
FORWARDS = 2 * len(SHARES)  # forward passes per map


def road(judged: Judged) -> ScoreSteps:
    """Probability with the lowest-ranked pixels removed minus that with the highest-ranked removed; high is good.

    Rong et al. 2022. This is a mean over the SHARES of removed pixels. The target's probability replaces the paper's
    accuracy over a data set.
    """
    x = judged.subject.x
    pixels = x.shape[2] * x.shape[3]
    counts = torch.tensor([round(share * pixels) for share in SHARES], device=x.device).view(-1, 1, 1)
    scores = []
    for ranks in judged.ranks:
        removed = torch.cat([ranks < counts, ranks >= pixels - counts])
        answer = yield Rows(impute(x, removed, SEED))
        without_highest, without_lowest = judged.probabilities(answer.logits).split(len(SHARES))
        scores.append((without_lowest - without_highest).mean(0))
    return torch.stack(scores)


def impute(x: Tensor, removed: Tensor, seed: int) -> Tensor:
    """Return `x` [1, C, H, W] with its removed pixels, masks [n, H, W], imputed as [n, C, H, W] (Rong et al. 2022).

    An imputed pixel is the weighted mean of its eight neighbours plus a little noise. Direct neighbours have twice the
    weight of diagonal ones, and the noise is the same for every mask.
    """
    noise = NOISE * torch.randn(x.shape, generator=seeded(seed, x), dtype=x.dtype, device=x.device)
    mask = removed[:, None]
    return torch.where(mask, fill_gaps(x, mask) + noise, x)


def fill_gaps(x: Tensor, removed: Tensor, fewest_steps: int = FEWEST_STEPS) -> Tensor:
    """Return `x` [1, C, H, W] with every pixel of `removed` [n, 1, H, W] close to the mean of its neighbours.

    The result is [n, C, H, W]. The linear system is solved from coarse to fine grids by a fixed number of
    conjugate-gradient steps on each (cascadic multigrid, Bornemann and Deuflhard 1996). On the finest grid, wide gaps
    therefore need no more steps than narrow ones.
    """
    grids = list(_grids(x, ~removed))
    values, weight = grids[-1]
    estimate = (values.sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)).expand_as(values)
    for values, weight in reversed(grids):
        gap = (weight == 0).to(x)
        known = values / weight.where(weight > 0, 1) * (1 - gap)
        if estimate.shape != values.shape:
            estimate = F.interpolate(estimate, size=values.shape[2:], mode="bilinear", align_corners=False)
        steps = max(fewest_steps, min(MOST_STEPS, STEPS_TIMES_SIDE // max(gap.shape[2:])))
        estimate = known + _solve_gaps(known, gap, gap * estimate, steps)
    return estimate


def _grids(x: Tensor, known: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield grids, each half as fine as the one before: masked values [n, C, h, w] and weights [n, 1, h, w].

    A value is the mean of the known pixels' values and zeros for the others, and a weight the share of known pixels.
    """
    weight = known.to(x)
    values = x * weight
    yield values, weight
    while max(values.shape[2:]) > 4:
        values, weight = (F.avg_pool2d(grid, 2, ceil_mode=True, count_include_pad=False) for grid in (values, weight))
        yield values, weight


def _solve_gaps(known: Tensor, gap: Tensor, start: Tensor, steps: int) -> Tensor:
    """Return the values [n, C, h, w] of the gap pixels after conjugate-gradient steps from `start`.

    `gap` is 1 for gap pixels and 0 for others, for which `start` and the result are 0. The preconditioner is the
    diagonal of the system.
    """
    weights = _neighbour_sum(torch.ones_like(known[:1, :1]))  # less than 1 at the border, for lack of neighbours
    solution = start
    residual = gap * (_neighbour_sum(known + solution) - weights * solution)
    preconditioned = residual / weights
    direction, size = preconditioned, _dot(residual, preconditioned)
    for _ in range(steps):
        product = gap * (weights * direction - _neighbour_sum(direction))
        length = _ratio(size, _dot(direction, product))
        solution = solution + length * direction
        residual = residual - length * product
        preconditioned = residual / weights
        before, size = size, _dot(residual, preconditioned)
        direction = preconditioned + _ratio(size, before) * direction
    return solution


def _neighbour_sum(values: Tensor) -> Tensor:
    """Return the sum [n, C, h, w] of each pixel's neighbours: weight 1/6 for direct and 1/12 for diagonal ones."""
    wide = F.pad(values, (1, 1, 1, 1))
    rows = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 12 - values / 3


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the dot product over pixels, [n, C, 1, 1]."""
    return (one * other).sum((2, 3), keepdim=True)


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Return one / other, or 0 if `other` is 0 because the system is already solved."""
    return one / other.where(other > 1e-30, torch.inf)

"""Infidelity of a map to changes of the score, and sensitivity of the map to small changes of the picture."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods.base import CHUNK, Cost
from torchserve_saliency.methods.baselines import seeded
from torchserve_saliency.quality.judged import SEED, Judged, ScoreSteps

SQUARES = CHUNK  # squares of the picture that are set to zero for infidelity
COPIES = 4  # perturbed copies of the picture that are explained for sensitivity
RADIUS = 0.02  # largest perturbation of an input value, as in Captum
MOST_REPEATED = 64  # forward passes of a method above which it is not run again for sensitivity


def infidelity(judged: Judged) -> ScoreSteps:
    """Mean squared error of the change in score that a map predicts, in squared units of the score; low is good.

    Yeh et al. 2019. The changes set squares of the normalised input to zero. If the map holds shares of the score, its
    prediction is their sum over the square; if it is a gradient, its product with the removed values. Predictions are
    first multiplied by the factor with the smallest error, as in the authors' code and with Captum's `normalize`.
    """
    subject = judged.subject
    masks = squares(subject.x, SQUARES, SEED)
    removed = masks * subject.x
    answer = yield Rows(subject.x - removed, subject.objective.fixed(judged.pairs), gradient=False)
    clean = [subject.objective.evaluate(judged.logits, pair)[0] for pair in judged.pairs]
    changes = torch.tensor(clean, dtype=torch.float64)[:, None] - answer.scores
    predicted = _predicted_changes(judged.values, removed if judged.local else masks)
    return torch.stack([_squared_errors(row, changes) for row in predicted])


def squares(x: Tensor, count: int, seed: int) -> Tensor:
    """Return seeded masks [count, 1, H, W] that are 1 in a square of an eighth to half of the shorter side of `x`."""
    height, width = x.shape[2:]
    draw = torch.rand(3, count, 1, 1, generator=seeded(seed, x), device=x.device)
    side = ((0.125 + 0.375 * draw[0]) * min(height, width)).ceil()
    top, left = (draw[1] * (height - side + 1)).floor(), (draw[2] * (width - side + 1)).floor()
    rows, columns = (torch.arange(length, device=x.device) for length in (height, width))
    inside = ((rows >= top.squeeze(-1)) & (rows < (top + side).squeeze(-1)))[:, :, None]
    inside = inside & ((columns >= left.squeeze(-1)) & (columns < (left + side).squeeze(-1)))[:, None, :]
    return inside[:, None].to(x)


def _predicted_changes(values: Tensor, changes: Tensor) -> Tensor:
    """Return the sums [M, n] of maps [M, c, H, W] times changes [n, C, H, W], in float64 on the CPU.

    If the numbers of channels differ, both are summed over their channels first.
    """
    if values.shape[1] == changes.shape[1]:
        return (values.flatten(1).double() @ changes.flatten(1).double().T).cpu()
    return (values.sum(1).flatten(1).double() @ changes.sum(1).flatten(1).double().T).cpu()


def _squared_errors(predicted: Tensor, changes: Tensor) -> Tensor:
    """Return the mean squared errors [T] of one map's predictions [n], scaled optimally, for changes [T, n]."""
    size = predicted.square().sum()
    scale = (changes @ predicted) / size if size > 0 else torch.zeros(len(changes), dtype=changes.dtype)
    return (scale[:, None] * predicted - changes).square().mean(1)


def max_sensitivity(judged: Judged) -> ScoreSteps:
    """Largest change of a map over its norm if the picture is slightly perturbed (Yeh et al. 2019); low is good.

    Maps are compared before `reduce`. The random map is drawn anew for each copy of the picture. The score is NaN if
    the method is not run again.
    """
    maps, targets = len(judged.values), len(judged.pairs)
    found = torch.full((maps, targets), torch.nan, dtype=torch.float64)
    if judged.again is None:
        return found
    generator = seeded(SEED, judged.subject.x)
    own, other = judged.values[:targets], judged.values[targets:]
    worst = torch.zeros(maps, dtype=torch.float64)
    for copy in perturbed_copies(judged.subject.x, generator):
        values = yield from _explain_again(judged, copy)
        fresh = torch.randn(other.shape, generator=generator, dtype=other.dtype, device=other.device)
        worst = torch.maximum(worst, torch.cat([_relative_change(own, values), _relative_change(other, fresh)]))
    found[:targets].diagonal().copy_(worst[:targets])
    found[targets:] = worst[targets:, None]
    return found


def perturbed_copies(x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return COPIES of `x` [1, C, H, W] with uniform noise of at most RADIUS added to each value."""
    noise = torch.rand(COPIES, *x.shape[1:], generator=generator, dtype=x.dtype, device=x.device)
    copies: tuple[Tensor, ...] = (x + RADIUS * (2 * noise - 1)).split(1)
    return copies


def _explain_again(judged: Judged, x: Tensor) -> Generator[Rows, Answer, Tensor]:
    """Return the method's maps [T, C, H, W] for another input and the same classes."""
    assert judged.again is not None
    objective = judged.subject.objective.fixed(judged.pairs)
    maps = yield from judged.again(replace(judged.subject, x=x, objective=objective))
    return maps.values


def _relative_change(before: Tensor, after: Tensor) -> Tensor:
    """Return the norm of each map's change divided by its own norm, float64 [M] on the CPU."""
    change, size = ((m.flatten(1).double().square().sum(1).sqrt()).cpu() for m in (after - before, before))
    return change / torch.where(size > 0, size, 1)


def repeat_cost(method: Cost) -> Cost:
    """Return the cost of max-sensitivity for a method of this cost: zero if the method is above MOST_REPEATED."""
    if method.forward_passes(1) > MOST_REPEATED:
        return Cost(0)
    return Cost(COPIES * method.forwards, COPIES * method.backwards, COPIES * method.per_target)

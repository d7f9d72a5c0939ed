"""Whether a map foretells what a change of the picture does to the score, and how little the map itself changes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from saliency.methods.base import CHUNK, Cost
from saliency.methods.baselines import seeded
from saliency.objective import evaluate
from saliency.quality.base import SEED, Judged, Marks
from saliency.rows import Answer, Rows

SQUARES = CHUNK  # that are taken out for infidelity
COPIES = 4  # of the picture that are explained again for sensitivity
RADIUS = 0.02  # of the ball around the picture that they are drawn from, in units of the input, as in Captum
MOST_REPEATED = 64  # forward rows of a method that is run again for each copy


def infidelity(judged: Judged) -> Marks:
    """Mean squared error of the change in score that a map foretells (Yeh et al. 2019); low is good.

    Squares are set to zero in the normalised input. A map of shares of the score foretells their sum in the square, a
    gradient its product with what is taken out. A map's unit is taken from it by the factor that serves it best, as in
    the authors' code and in Captum's `normalize`. For the score that is explained, `against` included, squared.
    """
    subject = judged.subject
    masks = squares(subject.x, SQUARES, SEED)
    taken = masks * subject.x
    answer = yield Rows(subject.x - taken, subject.objective.fixed(judged.pairs), gradient=False)
    clean = [evaluate(judged.logits, pair, subject.objective.score)[0] for pair in judged.pairs]
    changes = torch.tensor(clean, dtype=torch.float64)[:, None] - answer.scores
    foretold = _products(judged.values, taken if judged.local else masks)
    return torch.stack([_errors(row, changes) for row in foretold])


def squares(x: Tensor, count: int, seed: int) -> Tensor:
    """Return seeded masks [count, 1, H, W], 1 in a square of an eighth to a half of the shorter side of `x`."""
    height, width = x.shape[2:]
    draw = torch.rand(3, count, 1, 1, generator=seeded(seed, x), device=x.device)
    side = ((0.125 + 0.375 * draw[0]) * min(height, width)).ceil()
    top, left = (draw[1] * (height - side + 1)).floor(), (draw[2] * (width - side + 1)).floor()
    rows, columns = (torch.arange(length, device=x.device) for length in (height, width))
    inside = ((rows >= top.squeeze(-1)) & (rows < (top + side).squeeze(-1)))[:, :, None]
    inside = inside & ((columns >= left.squeeze(-1)) & (columns < (left + side).squeeze(-1)))[:, None, :]
    return inside[:, None].to(x)


def _products(values: Tensor, changes: Tensor) -> Tensor:
    """Return the sums [M, n] of maps [M, c, H, W] times changes [n, C, H, W], in float64 on the CPU."""
    if values.shape[1] == changes.shape[1]:
        return (values.flatten(1).double() @ changes.flatten(1).double().T).cpu()
    return (values.sum(1).flatten(1).double() @ changes.sum(1).flatten(1).double().T).cpu()


def _errors(foretold: Tensor, changes: Tensor) -> Tensor:
    """Return the mean squared error [T] of one map's forecasts [n], scaled at best, for changes [T, n]."""
    size = foretold.square().sum()
    scale = (changes @ foretold) / size if size > 0 else torch.zeros(len(changes), dtype=changes.dtype)
    return (scale[:, None] * foretold - changes).square().mean(1)


def max_sensitivity(judged: Judged) -> Marks:
    """Greatest change of a map, over its norm, as the picture moves a little (Yeh et al. 2019); low is good.

    The map is taken before `reduce`. The random map is drawn anew for each copy, as one that does not hear the picture.
    """
    maps, targets = len(judged.values), len(judged.pairs)
    found = torch.full((maps, targets), torch.nan, dtype=torch.float64)
    if judged.again is None:
        return found
    generator = seeded(SEED, judged.subject.x)
    own, other = judged.values[:targets], judged.values[targets:]
    worst = torch.zeros(maps, dtype=torch.float64)
    for copy in nearby(judged.subject.x, generator):
        values = yield from _explained(judged, copy)
        fresh = torch.randn(other.shape, generator=generator, dtype=other.dtype, device=other.device)
        worst = torch.maximum(worst, torch.cat([_moved(own, values), _moved(other, fresh)]))
    found[:targets].diagonal().copy_(worst[:targets])
    found[targets:] = worst[targets:, None]
    return found


def nearby(x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return COPIES of `x` [1, C, H, W], each of its values moved evenly within RADIUS."""
    noise = torch.rand(COPIES, *x.shape[1:], generator=generator, dtype=x.dtype, device=x.device)
    copies: tuple[Tensor, ...] = (x + RADIUS * (2 * noise - 1)).split(1)
    return copies


def _explained(judged: Judged, x: Tensor) -> Generator[Rows, Answer, Tensor]:
    """Return the method's maps [T, C, H, W] of another input, for the same classes."""
    assert judged.again is not None
    objective = judged.subject.objective.fixed(judged.pairs)
    maps = yield from judged.again(replace(judged.subject, x=x, objective=objective))
    return maps.values


def _moved(before: Tensor, after: Tensor) -> Tensor:
    """Return the norm of each map's change over its own norm [M], in float64 on the CPU."""
    change, size = ((m.flatten(1).double().square().sum(1).sqrt()).cpu() for m in (after - before, before))
    return change / torch.where(size > 0, size, 1)


def repeated(method: Cost) -> Cost:
    """Return what max-sensitivity spends on a method of that cost: nothing where it is above MOST_REPEATED."""
    if method.pictures(1) > MOST_REPEATED:
        return Cost(0)
    return Cost(COPIES * method.forwards, COPIES * method.backwards, COPIES * method.per_target)

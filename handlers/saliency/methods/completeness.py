"""Attribution along a path, and completeness: whether a map sums to the difference in score between the path's ends."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from saliency.methods.base import Subject
from saliency.objective import Objective, Pairs, evaluate
from saliency.rows import Answer, Rows


def attributed(path: Iterable[tuple[Tensor, Tensor]], objective: Objective) -> Generator[Rows, Answer, Tensor]:
    """Return the sum [T, C, H, W] of gradient times move over a path: points and moves [n, C, H, W], chunk by chunk."""
    total: Tensor | None = None
    for points, moves in path:
        answer = yield Rows(points, objective)
        part = torch.einsum("tnchw,nchw->tchw", answer.grad, moves.to(answer.grad))
        total = part if total is None else total + part
    assert total is not None
    return total


def ends(subject: Subject, starts: Tensor) -> Generator[Rows, Answer, tuple[Answer, Tensor, Objective]]:
    """Return the picture's answer, the logits [n, K] of where paths start, and the objective held to its classes.

    The picture alone settles the classes: by a baseline's logits, one might stand against itself.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    there = yield Rows(starts, gradient=False)
    return clean, there.logits, subject.objective.fixed(clean.pairs[0])


def completeness(maps: Tensor, end: Tensor, starts: Tensor, pairs: Pairs, score: str) -> tuple[dict[str, float], ...]:
    """Return, per target, how far its map's sum is from score(end) - mean score(starts), and that difference.

    `maps` is [T, C, H, W]; `end` [K] and `starts` [n, K] are logits, whose scores are taken for `pairs`.
    """
    differences = [_difference(end, starts, pair, score) for pair in pairs]
    return tuple(
        {"score_difference": difference, "completeness_gap": float(attribution.double().sum()) - difference}
        for attribution, difference in zip(maps, differences, strict=True)
    )


def _difference(end: Tensor, starts: Tensor, pair: tuple[int, int], score: str) -> float:
    """Return score(end) - mean score(starts) in float64."""
    return evaluate(end, pair, score)[0] - sum(evaluate(start, pair, score)[0] for start in starts) / len(starts)

"""Attribution along a path, and its completeness: a map should sum to the difference in score between both ends."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods.base import Subject


def sum_along_path(path: Iterable[tuple[Tensor, Tensor]], objective: Objective) -> Generator[Rows, Answer, Tensor]:
    """Return the sum [T, C, H, W] of gradient times move over a path, given as chunks of points and moves.

    Points and moves are [n, C, H, W] each.
    """
    total: Tensor | None = None
    for points, moves in path:
        answer = yield Rows(points, objective)
        part = torch.einsum("tnchw,nchw->tchw", answer.grad, moves.to(answer.grad))
        total = part if total is None else total + part
    assert total is not None
    return total


def evaluate_ends(subject: Subject, starts: Tensor) -> Generator[Rows, Answer, tuple[Answer, Tensor, Objective]]:
    """Return the answer for the picture, the logits [n, K] at the starts of paths, and the objective of fixed classes.

    Classes are resolved from the picture's logits only. With a baseline's logits, `target` and `against` could become
    the same class.
    """
    clean = yield Rows(subject.x, subject.objective, gradient=False)
    start = yield Rows(starts, gradient=False)
    return clean, start.logits, subject.objective.fixed(clean.pairs[0])


def completeness_findings(
    maps: Tensor, end: Tensor, starts: Tensor, objective: Objective
) -> tuple[dict[str, float], ...]:
    """Return the findings `score_difference` and `completeness_gap` for each target.

    `score_difference` is score(end) - mean score(starts), and `completeness_gap` the sum of the target's map minus that
    difference. `maps` are [T, C, H, W]; `end` [W] and `starts` [n, W] are logits, scored for the objective's classes,
    which are fixed.
    """
    assert objective.pairs is not None
    differences = [_difference(end, starts, pair, objective) for pair in objective.pairs]
    return tuple(
        {"score_difference": difference, "completeness_gap": float(attribution.double().sum()) - difference}
        for attribution, difference in zip(maps, differences, strict=True)
    )


def _difference(end: Tensor, starts: Tensor, pair: tuple[int, int], objective: Objective) -> float:
    """Return score(end) - mean score(starts), computed in float64."""
    at_starts = sum(objective.evaluate(start, pair)[0] for start in starts)
    return objective.evaluate(end, pair)[0] - at_starts / len(starts)

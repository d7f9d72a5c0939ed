"""Evidence beside a map: how faithful, steady and sparse it is, each figure beside that of a random map."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.methods.base import Cost
from saliency.methods.baselines import seeded
from saliency.quality.base import SEED, Figure, Judged, Marks, Quality
from saliency.quality.deletion import STEPS, deletion, insertion
from saliency.quality.road import ROWS, road
from saliency.quality.robustness import SQUARES, infidelity, max_sensitivity, repeated
from saliency.quality.shape import completeness_gap, sparseness, top_share
from saliency.rows import Answer, Rows

DIGITS = 6  # significant ones of a figure that is sent


@dataclass(frozen=True)
class Score:
    """An entry of the table of scores: `rows(maps)` forward rows are spent on so many maps, the random one included."""

    function: Callable[[Judged], Marks]
    paper: str
    rows: Callable[[int], int] = lambda maps: 0


def _curve(function: Callable[..., Marks], fill: str) -> Score:
    """Return the score of a curve from the picture to a baseline or back."""
    return Score(partial(function, fill=fill), "Petsiuk et al. 2018, arXiv:1806.07421", lambda maps: STEPS * maps)


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "deletion_blur": _curve(deletion, "blur"),
        "deletion_mean": _curve(deletion, "mean"),
        "insertion_blur": _curve(insertion, "blur"),
        "insertion_mean": _curve(insertion, "mean"),
        "road": Score(road, "Rong et al. 2022, arXiv:2202.00449", lambda maps: ROWS * maps),
        "infidelity": Score(infidelity, "Yeh et al. 2019, arXiv:1901.09392", lambda maps: SQUARES),
        "max_sensitivity": Score(max_sensitivity, "Yeh et al. 2019, arXiv:1901.09392"),
        "completeness_gap": Score(completeness_gap, "Sundararajan et al. 2017, arXiv:1703.01365"),
        "sparseness": Score(sparseness, "Chalasani et al. 2020, arXiv:1810.06583"),
        "top_share": Score(top_share, "share of the map's magnitude in its strongest tenth of the pixels"),
    }
)


def quality_cost(method: Cost, targets: int = 1) -> Cost:
    """Return the rows that the scores of a method's maps spend at most, beyond the method's own."""
    again = repeated(method)
    return Cost(sum(score.rows(targets + 1) for score in SCORES.values())) + again


def random_values(like: Tensor) -> Tensor:
    """Return the random map before `reduce`: standard normal [1, C, H, W] for maps [T, C, H, W]."""
    return torch.randn(1, *like.shape[1:], generator=seeded(SEED, like), dtype=like.dtype, device=like.device)


def evidence(judged: Judged) -> Generator[Rows, Answer, tuple[Quality, ...]]:
    """Yield the rows of every score; return a target's figures each, beside those of the random map, the last one.

    `forwards` and `backwards` count the rows that were spent on all targets together.
    """
    found: dict[str, Tensor] = {}
    spent: list[Cost] = []
    for name, score in SCORES.items():
        found[name] = yield from _counted(score.function(judged), spent)
    return tuple(
        {name: _beside(marks, t, judged.why if name == "max_sensitivity" else "") for name, marks in found.items()}
        | {"forwards": sum(cost.forwards for cost in spent), "backwards": sum(cost.backwards for cost in spent)}
        for t in range(len(judged.pairs))
    )


def _counted(marks: Marks, spent: list[Cost]) -> Marks:
    """Return what a score returns; the count of the rows that it yields is added to `spent`."""
    try:
        rows = next(marks)
        while True:
            count = len(rows.inputs)
            spent.append(Cost(count, count if rows.differentiated else 0))
            rows = marks.send((yield rows))
    except StopIteration as end:
        found: Tensor = end.value
        return found


def _beside(marks: Tensor, target: int, why: str) -> Mapping[str, Figure | str]:
    """Return a target's own figure and the random map's, of marks [M, T]."""
    said: dict[str, Figure | str] = {"value": figure(marks[target, target]), "random": figure(marks[-1, target])}
    return said | ({"reason": why} if why else {})


def figure(value: Tensor) -> Figure:
    """Return a figure as it is sent, None where it is not finite."""
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None

"""The quality scores of maps: faithfulness, sensitivity and sparseness, each compared with that of a random map."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.rows import Answer, Rows, advance
from torchserve_saliency.methods.base import Cost
from torchserve_saliency.methods.baselines import seeded
from torchserve_saliency.quality.deletion_insertion import STEPS, deletion, insertion
from torchserve_saliency.quality.infidelity_sensitivity import SQUARES, infidelity, max_sensitivity, repeat_cost
from torchserve_saliency.quality.judged import SEED, Judged, Quality, ScoreSteps, ScoreValue
from torchserve_saliency.quality.map_statistics import completeness_gap, sparseness, top_share
from torchserve_saliency.quality.road import FORWARDS, road

DIGITS = 6  # significant digits of a score in an answer


@dataclass(frozen=True)
class Score:
    """An entry of the table of scores; `forwards(maps)` is its number of forward passes, with the random map counted.

    The passes for explaining copies of the picture again are counted by `repeat_cost` instead.
    """

    function: Callable[[Judged], ScoreSteps]
    paper: str
    forwards: Callable[[int], int] = lambda maps: 0


def _curve(function: Callable[..., ScoreSteps], fill: str) -> Score:
    """Return the score for one of the two curves and one fill."""
    return Score(partial(function, fill=fill), "Petsiuk et al. 2018, arXiv:1806.07421", lambda maps: STEPS * maps)


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "deletion_blur": _curve(deletion, "blur"),
        "deletion_mean": _curve(deletion, "mean"),
        "insertion_blur": _curve(insertion, "blur"),
        "insertion_mean": _curve(insertion, "mean"),
        "road": Score(road, "Rong et al. 2022, arXiv:2202.00449", lambda maps: FORWARDS * maps),
        "infidelity": Score(infidelity, "Yeh et al. 2019, arXiv:1901.09392", lambda maps: SQUARES),
        "max_sensitivity": Score(max_sensitivity, "Yeh et al. 2019, arXiv:1901.09392"),
        "completeness_gap": Score(completeness_gap, "Sundararajan et al. 2017, arXiv:1703.01365"),
        "sparseness": Score(sparseness, "Chalasani et al. 2020, arXiv:1810.06583"),
        "top_share": Score(top_share, "share of the map's magnitude in its strongest tenth of the pixels"),
    }
)


def quality_cost(method: Cost, targets: int = 1) -> Cost:
    """Return the most passes that the scores need in addition to those of the method."""
    return Cost(sum(score.forwards(targets + 1) for score in SCORES.values())) + repeat_cost(method)


def random_map(like: Tensor) -> Tensor:
    """Return the random map to compare with, before `reduce`: standard normal, [1, C, H, W] for maps [T, C, H, W]."""
    return torch.randn(1, *like.shape[1:], generator=seeded(SEED, like), dtype=like.dtype, device=like.device)


def quality_scores(judged: Judged) -> Generator[Rows, Answer, tuple[Quality, ...]]:
    """Return all scores of each target's map, next to those of the random map, which must be the last one.

    The entries `forwards` and `backwards` count the passes that all targets together needed.
    """
    scores: dict[str, Tensor] = {}
    spent: list[Cost] = []
    for name, score in SCORES.items():
        scores[name] = yield from _counted(score.function(judged), spent)
    reasons = {"max_sensitivity": judged.why} if judged.why else {}
    passes = {"forwards": sum(cost.forwards for cost in spent), "backwards": sum(cost.backwards for cost in spent)}
    return tuple(_target_scores(scores, target, reasons) | passes for target in range(len(judged.pairs)))


def _counted(marks: ScoreSteps, spent: list[Cost]) -> ScoreSteps:
    """Delegate to a score, and append the cost of all rows that it yields to `spent`."""
    step = advance(marks)
    while isinstance(step, Rows):
        count = len(step.inputs)
        spent.append(Cost(count, count if step.differentiated else 0))
        step = advance(marks, (yield step))
    return step.value


def _target_scores(
    scores: Mapping[str, Tensor], target: int, reasons: Mapping[str, str]
) -> dict[str, Mapping[str, ScoreValue | str] | int]:
    """Return the scores of one target's map and of the random map by name, from scores [M, T] of all maps.

    `reasons` hold the reason for each score that could not be computed.
    """
    entries: dict[str, Mapping[str, ScoreValue | str] | int] = {}
    for name, values in scores.items():
        entry: dict[str, ScoreValue | str] = {"value": rounded(values[target, target])}
        entry["random"] = rounded(values[-1, target])
        entries[name] = entry | ({"reason": reasons[name]} if name in reasons else {})
    return entries


def rounded(value: Tensor) -> ScoreValue:
    """Return a score as it is sent: rounded to DIGITS significant digits, or None if it is not finite."""
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None

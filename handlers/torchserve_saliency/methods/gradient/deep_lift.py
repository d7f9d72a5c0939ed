"""DeepLIFT with the rescale rule, for logits, probabilities and log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import Cost, Maps, Method, Need, Steps, Subject
from torchserve_saliency.methods.baselines import baseline, baseline_option, seed_option
from torchserve_saliency.methods.gradient.path_attribution import completeness_findings
from torchserve_saliency.propagation.rescale_rule import Rescale


@dataclass(frozen=True)
class DeepLift:
    """The baseline that the picture is compared with."""

    baseline: str = baseline_option()
    seed: int = seed_option()


def _deep_lift_cost(p: DeepLift, spec: InputSpec) -> Cost:
    """Return both passes of the picture and the baseline, and a forward pass to resolve the classes if needed."""
    return Cost(3, 2)


def deep_lift(subject: Subject, p: DeepLift) -> Steps:
    """(Input - baseline) times the multipliers of the rescale rule, [T, C, H, W] (Shrikumar et al. 2017).

    Maps of probabilities and log-probabilities are complete, like those of logits. The findings are
    `score_difference`, score(input) - score(baseline), and `completeness_gap`, the sum of the map minus that
    difference. The gap is only rounding error if `propagation.rescale_rule` knows every operation of the network.
    """
    ends = torch.cat([subject.x, baseline(p.baseline, subject.x, subject.spec, p.seed)])
    objective, is_output = subject.objective, subject.objective.explains_output
    if not is_output or objective.against is not None:
        # classes are resolved from the picture only: the baseline's logits might give target and against the same class
        clean = yield Rows(subject.x, objective, gradient=False)
        objective = objective.fixed(clean.pairs[0])
    answer = yield Rows(ends, objective if is_output else _log_probabilities(objective), mode=Rescale())
    end_maps = answer.grad * (ends[0] - ends[1]).to(answer.grad)
    maps = end_maps[:, 0] if is_output else _probability_maps(end_maps, answer, objective)
    resolved = objective.fixed(objective.pairs or answer.pairs[0])
    return Maps(maps, completeness_findings(maps, answer.logits[0], answer.logits[1:], resolved))


def _log_probabilities(objective: Objective) -> Objective:
    """Return the objective of the log-probability of each class in a resolved objective, without `against`."""
    assert objective.pairs is not None
    classes = tuple(dict.fromkeys(c for pair in objective.pairs for c in pair if c >= 0))
    pairs = tuple((c, -1) for c in classes)
    return replace(objective, targets=classes, against=None, score="log_probability", pairs=pairs)


def _probability_maps(end_maps: Tensor, answer: Answer, objective: Objective) -> Tensor:
    """Return the maps [T, C, H, W] of probabilities or log-probabilities, which sum to the difference in score.

    Let p and q be the probabilities of a class at the input and at the baseline. `end_maps` [K, 2, C, H, W] hold two
    maps of the class's log-probability: one with its gradient in the logits at the input, one with that at the
    baseline. The logarithms of softmax, of sigmoid and of a positive output are concave, so log p - log q lies between
    the sums of both maps, and a weighted mean of the maps has this sum. It is the map of the log-probability. Times the
    logarithmic mean of p and q, which is (p - q) / (log p - log q), it is the map of the probability.
    """
    assert objective.pairs is not None
    sums, maps = end_maps.double().sum((2, 3, 4)).tolist(), {}
    for (index, _), (sum_p, sum_q), (map_p, map_q) in zip(answer.pairs[0], sums, end_maps, strict=True):
        log_p, log_q = (objective.columns.score(logits, index, "log_probability")[0] for logits in answer.logits)
        weight = _mixing_weight(sum_p, sum_q, log_p - log_q)
        scale = _logarithmic_mean(log_p, log_q) if objective.score == "probability" else 1.0
        maps[index] = (map_p * weight + map_q * (1 - weight)) * scale
    return torch.stack([maps[t] - maps[a] if a >= 0 else maps[t] for t, a in objective.pairs])


def _mixing_weight(first: float, second: float, mean: float) -> float:
    """Return w in 0-1 so that w * first + (1 - w) * second is `mean`; 0.5 if first and second are equal."""
    return min(max((mean - second) / (first - second), 0.0), 1.0) if first != second else 0.5


def _logarithmic_mean(log_p: float, log_q: float) -> float:
    """Return (p - q) / (log p - log q), or p if p and q are equal, without cancellation."""
    largest, difference = max(log_p, log_q), abs(log_p - log_q)
    return math.exp(largest) * (-math.expm1(-difference) / difference if difference else 1.0)


DEEP_LIFT_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "deep_lift": Method(
            deep_lift,
            DeepLift,
            "Shrikumar et al. 2017, arXiv:1704.02685",
            "How much each pixel adds to the score, compared with an empty picture",
            (Need.HOOKS,),
            _deep_lift_cost,
        ),
    }
)

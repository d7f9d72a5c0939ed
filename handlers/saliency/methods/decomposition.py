"""Methods that share a score out among the pixels, layer by layer backwards: DeepLIFT, relevance propagation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import Cost, Maps, Method, Need, Steps, Subject
from saliency.methods.baselines import baseline, baseline_option, seed_option
from saliency.methods.completeness import completeness
from saliency.objective import Objective, evaluate
from saliency.relevance import RULES, Relevance
from saliency.rescale import Rescale
from saliency.rows import Answer, Rows
from saliency.schema import Choice, Number, option


@dataclass(frozen=True)
class DeepLift:
    """What the picture is compared with."""

    baseline: str = baseline_option()
    seed: int = seed_option()


def _deep_lift_cost(p: DeepLift, spec: InputSpec) -> Cost:
    """Return the picture and its baseline with gradients, and the picture alone where classes are to be settled."""
    return Cost(3, 2)


def deep_lift(subject: Subject, p: DeepLift) -> Steps:
    """Input minus baseline, times the multipliers of the rescale rule (Shrikumar et al. 2017).

    Probabilities and their logarithms are nonlinearities like others, so that the maps of these scores add up, too.
    The finding `completeness_gap` is the sum of the map minus score(input) - score(baseline), 0 but for rounding where
    the network is made of what `saliency.rescale` knows.
    """
    ends = torch.cat([subject.x, baseline(p.baseline, subject.x, subject.spec, p.seed)])
    objective, linear = subject.objective, subject.objective.score == "logit"
    if not linear or objective.against is not None:
        # the picture settles the classes: by the baseline's logits, one might stand against itself
        clean = yield Rows(subject.x, objective, gradient=False)
        objective = objective.fixed(clean.pairs[0])
    answer = yield Rows(ends, objective if linear else _logarithms(objective), mode=Rescale())
    maps = _times_difference(answer.grad, ends)
    maps = maps[:, 0] if linear else _of_probabilities(maps, answer, objective)
    pairs = objective.pairs or answer.pairs[0]
    return Maps(maps, completeness(maps, answer.logits[0], answer.logits[1:], pairs, objective.score))


def _logarithms(objective: Objective) -> Objective:
    """Return the objective of the log probability of each class that another objective has settled on."""
    assert objective.pairs is not None
    classes = tuple(dict.fromkeys(c for pair in objective.pairs for c in pair if c >= 0))
    pairs = tuple((c, -1) for c in classes)
    return replace(objective, targets=classes, against=None, score="log_probability", pairs=pairs)


def _times_difference(multipliers: Tensor, ends: Tensor) -> Tensor:
    """Return multipliers [T, 2, C, H, W] times the difference between the two ends [2, C, H, W]."""
    return multipliers * (ends[0] - ends[1]).to(multipliers)


def _of_probabilities(both: Tensor, answer: Answer, objective: Objective) -> Tensor:
    """Return maps [T, C, H, W] of a difference in probability, or in its logarithm, made of those of `_logarithms`.

    `both` [K, 2, C, H, W] are a class's maps by the slopes of the logarithm at either end. They are mixed so that they
    add up: as the logarithm is concave in the logits, there is one such mixture. A difference in p is a difference in
    log p times the logarithmic mean of the two p.
    """
    assert objective.pairs is not None
    sums, maps = both.double().sum((2, 3, 4)).tolist(), {}
    for (index, _), (high, low), (at_input, at_baseline) in zip(answer.pairs[0], sums, both, strict=True):
        here, there = (evaluate(row, (index, -1), "log_probability")[0] for row in answer.logits)
        share = _share(high, low, here - there)
        scale = _mean_probability(here, there) if objective.score == "probability" else 1.0
        maps[index] = (at_input * share + at_baseline * (1 - share)) * scale
    return torch.stack([maps[t] - maps[a] if a >= 0 else maps[t] for t, a in objective.pairs])


def _share(high: float, low: float, wanted: float) -> float:
    """Return the share of `high` in the mixture with `low` that is `wanted`, from 0 to 1."""
    return min(max((wanted - low) / (high - low), 0.0), 1.0) if high != low else 0.5


def _mean_probability(here: float, there: float) -> float:
    """Return the logarithmic mean of two probabilities, given their logarithms."""
    high, apart = max(here, there), abs(here - there)
    return math.exp(high) * (-math.expm1(-apart) / apart if apart else 1.0)


@dataclass(frozen=True)
class Lrp:
    """The rule at convolutions and linear layers, and its constants."""

    rule: str = option("epsilon", Choice(tuple(RULES)), "rule at convolutions and linear layers")
    epsilon: float = option(1e-9, Number(0, 10), "what is added to denominators: absorbs weak relevance")
    gamma: float = option(0.25, Number(0, 100), "how much more positive contributions count under rule gamma")


def lrp(subject: Subject, p: Lrp) -> Steps:
    """Relevance of each input: the score, shared out by contributions layer by layer (Bach et al. 2015).

    The finding `completeness_gap` is the sum of the relevance minus the score: what the biases absorbed, and epsilon.
    Relevance begins as logit times the score's slope: the score itself only where that is a logit, or a difference.
    """
    answer = yield Rows(subject.x, subject.objective, mode=Relevance(p.rule, p.epsilon, p.gamma))
    maps = answer.grad[:, 0] * subject.x.to(answer.grad)
    sums = maps.double().sum((1, 2, 3)).cpu() - answer.scores[:, 0]
    return Maps(maps, tuple({"completeness_gap": gap} for gap in sums.tolist()))


_LISTENING = (Need.HOOKS,)
DECOMPOSITIONS: Mapping[str, Method] = MappingProxyType(
    {
        "deep_lift": Method(
            deep_lift, DeepLift, "Shrikumar et al. 2017, arXiv:1704.02685", _LISTENING, _deep_lift_cost
        ),
        "lrp": Method(lrp, Lrp, "Bach et al. 2015, doi:10.1371/journal.pone.0130140", _LISTENING),
    }
)

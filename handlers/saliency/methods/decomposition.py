"""Methods that share a score out among the pixels, layer by layer backwards: DeepLIFT, relevance propagation."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
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

Multiplied = Generator[Rows, Answer, Tensor]


@dataclass(frozen=True)
class DeepLift:
    """What the picture is compared with."""

    baseline: str = baseline_option()
    seed: int = seed_option()


def _deep_lift_cost(p: DeepLift, spec: InputSpec) -> Cost:
    """Return the picture and its baseline with gradients, and once more without where the score is no logit."""
    return Cost(4, 2)


def deep_lift(subject: Subject, p: DeepLift) -> Steps:
    """Input minus baseline, times the multipliers of the rescale rule (Shrikumar et al. 2017).

    Probabilities and their logarithms are nonlinearities like others, so that the maps of these scores add up, too.
    The finding `completeness_gap` is the sum of the map minus score(input) - score(baseline), 0 but for rounding where
    the network is made of what `saliency.rescale` knows.
    """
    ends = torch.cat([subject.x, baseline(p.baseline, subject.x, subject.spec, p.seed)])
    objective = subject.objective
    if objective.score == "logit":
        answer = yield Rows(ends, objective, mode=Rescale())
        maps = _times_difference(answer.grad, ends)[:, 0]
    else:
        answer = yield Rows(ends, objective, gradient=False)
        maps = yield from _of_probabilities(ends, answer, objective)
    return Maps(maps, completeness(maps, answer.logits[0], answer.logits[1:], answer.pairs[0], objective.score))


def _times_difference(multipliers: Tensor, ends: Tensor) -> Tensor:
    """Return multipliers [T, 2, C, H, W] times the difference between the two ends [2, C, H, W]."""
    return multipliers * (ends[0] - ends[1]).to(multipliers)


def _of_probabilities(ends: Tensor, clean: Answer, objective: Objective) -> Multiplied:
    """Return maps [T, C, H, W] of the difference in probability, or its logarithm, between the two ends.

    A difference in p is a difference in log p times the logarithmic mean of the two p.
    """
    pairs = clean.pairs[0]
    classes = list(dict.fromkeys(c for pair in pairs for c in pair if c >= 0))
    found = yield from _of_logarithms(ends, clean.logits, classes, objective)
    if objective.score == "probability":
        means = [_mean_probability(clean.logits, c) for c in classes]
        found = found * torch.tensor(means, dtype=torch.float64).to(found).view(-1, 1, 1, 1)
    maps = dict(zip(classes, found, strict=True))
    return torch.stack([maps[t] - maps[a] if a >= 0 else maps[t] for t, a in pairs])


def _of_logarithms(ends: Tensor, logits: Tensor, classes: list[int], objective: Objective) -> Multiplied:
    """Return maps [T, C, H, W] of the difference in the logarithm of each class's probability.

    The slopes of the logarithm at the two ends are mixed so that they add up: as it is concave in the logits, there is
    one such mixture.
    """
    pairs = tuple((c, -1) for c in classes)
    each = replace(objective, targets=tuple(classes), against=None, score="log_probability", pairs=pairs)
    answer = yield Rows(ends, each, mode=Rescale())
    both = _times_difference(answer.grad, ends)
    sums = both.double().sum((2, 3, 4)).cpu()
    shares = [_share(high, low, _rise(logits, pair)) for (high, low), pair in zip(sums.tolist(), pairs, strict=True)]
    at_input = torch.tensor(shares, dtype=torch.float64).to(both).view(-1, 1, 1, 1)
    return both[:, 0] * at_input + both[:, 1] * (1 - at_input)


def _share(high: float, low: float, wanted: float) -> float:
    """Return the share of `high` in the mixture with `low` that is `wanted`, from 0 to 1."""
    return min(max((wanted - low) / (high - low), 0.0), 1.0) if high != low else 0.5


def _rise(logits: Tensor, pair: tuple[int, int]) -> float:
    """Return the difference in the logarithm of a class's probability between logits [2, K]."""
    here, there = (evaluate(row, pair, "log_probability")[0] for row in logits)
    return here - there


def _mean_probability(logits: Tensor, index: int) -> float:
    """Return the logarithmic mean of a class's probabilities at logits [2, K]."""
    here, there = (evaluate(row, (index, -1), "log_probability")[0] for row in logits)
    high, apart = max(here, there), abs(here - there)
    return float(np.exp(high) * (-np.expm1(-apart) / apart if apart else 1.0))


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

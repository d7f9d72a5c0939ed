"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.methods.base import Maps, Method, Need, Steps, Subject
from torchserve_saliency.propagation.relevance_rules import RULES, Relevance
from torchserve_saliency.schema import Choice, Number, option


@dataclass(frozen=True)
class Lrp:
    """The rule at convolutions and linear layers, and its constants."""

    rule: str = option("epsilon", Choice(tuple(RULES)), "How each layer shares out the score; gamma is easier to read")
    epsilon: float = option(1e-9, Number(0, 10), "Larger values absorb weak contributions")
    gamma: float = option(0.25, Number(0, 100), "Extra weight of positive contributions; only the rule gamma uses it")


def lrp(subject: Subject, p: Lrp) -> Steps:
    """Relevance of each input value, [T, C, H, W]: the score, redistributed backwards through the layers.

    Bach et al. 2015. The initial relevance of each class is its logit times the derivative of the score, which sums to
    the score if the score is a logit or a difference of logits. The finding `completeness_gap` is the sum of the
    relevance minus the score; the difference is absorbed by biases and by epsilon.
    """
    answer = yield Rows(subject.x, subject.objective, mode=Relevance(p.rule, p.epsilon, p.gamma))
    maps = answer.grad[:, 0] * subject.x.to(answer.grad)
    sums = maps.double().sum((1, 2, 3)).cpu() - answer.scores[:, 0]
    return Maps(maps, tuple({"completeness_gap": gap} for gap in sums.tolist()))


LRP_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "lrp": Method(
            lrp,
            Lrp,
            "Bach et al. 2015, doi:10.1371/journal.pone.0130140",
            "How the score is shared out among the pixels, layer by layer",
            (Need.HOOKS,),
        )
    }
)

"""Methods of a single backward pass to the input."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType

from torch import Tensor

from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods.base import Maps, Method, Need, NoParameters, Steps, Subject
from torchserve_saliency.propagation.relu_rules import Rule


def gradient(subject: Subject, p: NoParameters) -> Steps:
    """Gradient of the score with respect to the input, [T, C, H, W] (Simonyan et al. 2013)."""
    return Maps((yield from _backward(subject, Rule.PLAIN)))


def gradient_x_input(subject: Subject, p: NoParameters) -> Steps:
    """Gradient times the normalised input, [T, C, H, W] (Shrikumar et al. 2016)."""
    grad = yield from _backward(subject, Rule.PLAIN)
    return Maps(grad * subject.x.to(grad))


def guided_backprop(subject: Subject, p: NoParameters) -> Steps:
    """Gradient for which ReLUs pass only positive gradients of positive inputs (Springenberg et al. 2014)."""
    return Maps((yield from _backward(subject, Rule.GUIDED)))


def deconvolution(subject: Subject, p: NoParameters) -> Steps:
    """Gradient for which ReLUs pass all positive gradients, for any input (Zeiler and Fergus 2013)."""
    return Maps((yield from _backward(subject, Rule.DECONVOLUTION)))


def _backward(subject: Subject, rule: Rule) -> Generator[Rows, Answer, Tensor]:
    """Return the gradient with respect to the input, [T, C, H, W], with this rule at ReLUs."""
    answer = yield Rows(subject.x, subject.objective, rule=rule)
    return answer.grad[:, 0]


_RELUS = (Need.HOOKS, Need.RECTIFIERS)
PLAIN_GRADIENT_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "gradient": Method(
            gradient,
            NoParameters,
            "Simonyan et al. 2013, arXiv:1312.6034",
            "How the score changes if a pixel changes a little",
            local=True,
        ),
        "gradient_x_input": Method(
            gradient_x_input,
            NoParameters,
            "Shrikumar et al. 2016, arXiv:1605.01713",
            "A quick estimate of how much each pixel adds to the score",
        ),
        "guided_backprop": Method(
            guided_backprop,
            NoParameters,
            "Springenberg et al. 2014, arXiv:1412.6806",
            "Fine details that the network sees; it depends little on the class",
            _RELUS,
            local=True,
        ),
        "deconvolution": Method(
            deconvolution,
            NoParameters,
            "Zeiler and Fergus 2013, arXiv:1311.2901",
            "Fine details that the network sees; it hardly depends on the class",
            _RELUS,
            local=True,
        ),
    }
)

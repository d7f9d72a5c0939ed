"""Methods of one backward pass to the input."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from saliency.methods.base import Maps, Method, Need, Steps, Subject
from saliency.rows import Answer, Rows
from saliency.rules import Rule


@dataclass(frozen=True)
class NoParameters:
    """The method takes none."""


def gradient(subject: Subject, p: NoParameters) -> Steps:
    """Gradient of the score with respect to the input (Simonyan et al. 2013)."""
    return Maps((yield from _backward(subject, Rule.PLAIN)))


def gradient_x_input(subject: Subject, p: NoParameters) -> Steps:
    """Gradient times the normalised input (Shrikumar et al. 2016)."""
    grad = yield from _backward(subject, Rule.PLAIN)
    return Maps(grad * subject.x.to(grad))


def guided_backprop(subject: Subject, p: NoParameters) -> Steps:
    """Gradient in which rectifiers pass positive gradients of positive inputs alone (Springenberg et al. 2014)."""
    return Maps((yield from _backward(subject, Rule.GUIDED)))


def deconvolution(subject: Subject, p: NoParameters) -> Steps:
    """Gradient in which rectifiers pass positive gradients, whatever their input (Zeiler and Fergus 2013)."""
    return Maps((yield from _backward(subject, Rule.DECONVOLUTION)))


def _backward(subject: Subject, rule: Rule) -> Generator[Rows, Answer, Tensor]:
    """Return the input's gradient [T, C, H, W] under a rule."""
    answer = yield Rows(subject.x, subject.objective, rule=rule)
    return answer.grad[:, 0]


_RELUS = (Need.HOOKS, Need.RECTIFIERS)
GRADIENTS: Mapping[str, Method] = MappingProxyType(
    {
        "gradient": Method(gradient, NoParameters, "Simonyan et al. 2013, arXiv:1312.6034", local=True),
        "gradient_x_input": Method(gradient_x_input, NoParameters, "Shrikumar et al. 2016, arXiv:1605.01713"),
        "guided_backprop": Method(
            guided_backprop, NoParameters, "Springenberg et al. 2014, arXiv:1412.6806", _RELUS, local=True
        ),
        "deconvolution": Method(
            deconvolution, NoParameters, "Zeiler and Fergus 2013, arXiv:1311.2901", _RELUS, local=True
        ),
    }
)

"""Layer-wise relevance propagation (Bach et al. 2015) as a backward pass: relevance is activation times gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from saliency.operations import RECTIFIERS, Call, Kind, Template
from saliency.rewriting import Rewriting, Secant
from saliency.rows import Tapped


@dataclass(frozen=True)
class Relevance:
    """A rule for what is linear, one of RULES, and its constants.

    Everywhere else: at an elementwise nonlinearity relevance passes as it is, but for what f(0) brought; at a maximum
    the winner takes all; either factor of a product of activations gets half, and scales by which norms divide count as
    constants (Achtibat et al. 2024); softmax, averages and sums keep their derivative.
    """

    rule: str = "epsilon"
    epsilon: float = 1e-9
    gamma: float = 0.25
    grain: int = 1
    taps: bool = False

    def around(self, rows: int) -> AbstractContextManager[Tapped]:
        return _around(self)


@contextmanager
def _around(relevance: Relevance) -> Iterator[Tapped]:
    with _Propagating(relevance):
        yield {}


class _Propagating(Rewriting):
    """The mode."""

    def __init__(self, relevance: Relevance) -> None:
        super().__init__()
        self._relevance = relevance

    def rule(self, call: Call) -> Any:
        several = len(call.activations) > 1
        if call.kind in (Kind.LINEAR, Kind.SCALING) and several:
            return _shared(call)
        if call.kind is Kind.LINEAR:
            return self._linear(call)
        if call.kind is Kind.ELEMENTWISE and call.name not in RECTIFIERS and not several:
            return Secant.apply(call.activations[0], call.on, partial(_origin, call.on))
        return call.plain()

    def hold(self, scale: Tensor) -> Tensor:
        return scale.detach()

    def _linear(self, call: Call) -> Any:
        """Return z, its gradient multiplied by z / (z' + epsilon sign z') and sent through z', which a rule names."""
        (x,) = call.activations
        through = RULES["epsilon" if call.name == "batch_norm" else self._relevance.rule]
        if through is None:
            z = call.on(x)
            ratio = _ratio(z.detach(), z.detach(), self._relevance.epsilon)
            z.register_hook(lambda grad: grad * ratio)
            return z
        return _Instead.apply(through(call.on, x, self._relevance.gamma), call.on, x.detach(), self._relevance.epsilon)


def _origin(on: Template, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return zeros, and what a nonlinearity makes of them."""
    zeros = torch.zeros_like(x)
    return zeros, on(zeros)


def _shared(call: Call) -> Tensor:
    """Return a product of activations, its relevance shared evenly."""
    y: Tensor = call.plain()
    parts = len(call.activations)
    y.register_hook(lambda grad: grad / parts)
    return y


def _ratio(z: Tensor, through: Tensor, epsilon: float) -> Tensor:
    """Return z / (z' + epsilon sign z'), 0 where that is nothing over nothing."""
    stable = torch.where(through < 0, through - epsilon, through + epsilon)
    return torch.where(stable == 0, 0.0, z / stable)


class _Instead(torch.autograd.Function):
    """z, its gradient going to `through` in its place."""

    @staticmethod
    def forward(ctx: Any, through: Tensor, on: Template, x: Tensor, epsilon: float) -> Tensor:
        z: Tensor = on(x)
        ctx.save_for_backward(_ratio(z, through, epsilon))
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (ratio,) = ctx.saved_tensors
        return grads[0] * ratio, None, None, None


def _positive(on: Template, x: Tensor, bias: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum of the positive contributions to z, and of what `bias` makes of the bias."""
    weight, *offsets = on.constants
    zeros = [torch.zeros_like(b) for b in offsets]
    up: Tensor = on(x.clamp_min(0), constants=(weight.clamp_min(0), *map(bias, offsets)))
    if (x >= 0).all():
        return up
    down: Tensor = on(x.clamp_max(0), constants=(weight.clamp_max(0), *zeros))
    return up + down


def _alpha1_beta0(on: Template, x: Tensor, gamma: float) -> Tensor:
    """Return the positive contributions alone, the bias's too (Bach et al. 2015, alpha 1 and beta 0)."""
    return _positive(on, x, lambda bias: bias.clamp_min(0))


def _gamma(on: Template, x: Tensor, gamma: float) -> Tensor:
    """Return z with its positive contributions, bias apart, counted 1 + gamma times (Montavon et al. 2019)."""
    z: Tensor = on(x)
    return z + gamma * _positive(on, x, torch.zeros_like)


# what relevance goes through in place of z itself
Through = Callable[[Template, Tensor, float], Tensor]
RULES: Mapping[str, Through | None] = MappingProxyType(
    {"epsilon": None, "gamma": _gamma, "alpha1_beta0": _alpha1_beta0}
)

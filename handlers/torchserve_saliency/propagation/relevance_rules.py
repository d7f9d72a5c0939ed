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

from torchserve_saliency.propagation.function_calls import BoundFunction, FunctionCall
from torchserve_saliency.propagation.rule_mode import RuleMode, Secant
from torchserve_saliency.propagation.torch_functions import RECTIFIERS, OperationType


@dataclass(frozen=True)
class Relevance:
    """A mode in which linear functions follow one of RULES, with its constants `epsilon` and `gamma`.

    Other functions have fixed rules. An elementwise nonlinearity f passes relevance on unchanged, except the part due
    to f(0). A maximum passes all relevance to the largest element. A product of activations splits it evenly between
    its factors, and the scales of normalisations are constants (Achtibat et al. 2024). Softmax, averages and sums keep
    their derivatives.
    """

    rule: str = "epsilon"
    epsilon: float = 1e-9
    gamma: float = 0.25
    group_size: int = 1
    captures: bool = False

    def around(self, rows: int) -> AbstractContextManager[Mapping[str, Tensor]]:
        """Apply the rules to the forward pass of a batch; they yield no further outputs."""
        return _around(self)


@contextmanager
def _around(relevance: Relevance) -> Iterator[Mapping[str, Tensor]]:
    with _RelevanceMode(relevance):
        yield {}


class _RelevanceMode(RuleMode):
    """The rules of one Relevance."""

    def __init__(self, relevance: Relevance) -> None:
        super().__init__()
        self._relevance = relevance

    def rule(self, call: FunctionCall) -> Any:
        several = len(call.activations) > 1
        if call.type in (OperationType.LINEAR, OperationType.SCALING) and several:
            return _evenly_shared(call)
        if call.type is OperationType.LINEAR:
            return self._linear(call)
        if call.type is OperationType.ELEMENTWISE and call.name not in RECTIFIERS and not several:
            return Secant.apply(call.activations[0], call.function, partial(_origin, call.function))
        return call.evaluate()

    def scale_rule(self, scale: Tensor) -> Tensor:
        return scale.detach()

    def _linear(self, call: FunctionCall) -> Any:
        """Return z = W x + b. Its gradient is multiplied by z / (z' + epsilon sign z') and goes through z'.

        z' is the weighted sum of the rule, which is z itself for the epsilon rule. Batch norms always follow that rule.
        """
        (x,) = call.activations
        rule = RULES["epsilon" if call.name == "batch_norm" else self._relevance.rule]
        if rule is None:
            z = call.function(x)
            ratio = _stable_ratio(z.detach(), z.detach(), self._relevance.epsilon)
            z.register_hook(lambda grad: grad * ratio)
            return z
        weighted_sum = rule(call.function, x, self._relevance.gamma)
        return _BackwardThrough.apply(weighted_sum, call.function, x.detach(), self._relevance.epsilon)


def _origin(function: BoundFunction, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return zeros of the shape of `x`, and the values of a nonlinearity there."""
    zeros = torch.zeros_like(x)
    return zeros, function(zeros)


def _evenly_shared(call: FunctionCall) -> Tensor:
    """Return a product of activations, its relevance divided evenly among them."""
    y: Tensor = call.evaluate()
    count = len(call.activations)
    y.register_hook(lambda grad: grad / count)
    return y


def _stable_ratio(z: Tensor, weighted_sum: Tensor, epsilon: float) -> Tensor:
    """Return z / (z' + epsilon sign z') for the weighted sum z', and 0 if the denominator is 0."""
    stabilised = torch.where(weighted_sum < 0, weighted_sum - epsilon, weighted_sum + epsilon)
    return torch.where(stabilised == 0, 0.0, z / stabilised)


class _BackwardThrough(torch.autograd.Function):
    """A linear z = f(x) whose gradient goes to `weighted_sum` instead of x, multiplied by the stable ratio of both."""

    @staticmethod
    def forward(ctx: Any, weighted_sum: Tensor, function: BoundFunction, x: Tensor, epsilon: float) -> Tensor:
        z: Tensor = function(x)
        ctx.save_for_backward(_stable_ratio(z, weighted_sum, epsilon))
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (ratio,) = ctx.saved_tensors
        return grads[0] * ratio, None, None, None


def _positive_sum(function: BoundFunction, x: Tensor, bias: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum of the positive contributions w x to z, plus `bias` applied to the bias."""
    weight, *offsets = function.constants
    zeros = [torch.zeros_like(b) for b in offsets]
    from_positive: Tensor = function(x.clamp_min(0), constants=(weight.clamp_min(0), *map(bias, offsets)))
    if (x >= 0).all():
        return from_positive
    from_negative: Tensor = function(x.clamp_max(0), constants=(weight.clamp_max(0), *zeros))
    return from_positive + from_negative


def _alpha1_beta0(function: BoundFunction, x: Tensor, gamma: float) -> Tensor:
    """Return the sum of the positive contributions, bias included (Bach et al. 2015, alpha 1 and beta 0)."""
    return _positive_sum(function, x, lambda bias: bias.clamp_min(0))


def _gamma(function: BoundFunction, x: Tensor, gamma: float) -> Tensor:
    """Return z with its positive contributions, bias excluded, weighted by 1 + gamma (Montavon et al. 2019)."""
    z: Tensor = function(x)
    return z + gamma * _positive_sum(function, x, torch.zeros_like)


# the weighted sum z' of each rule; None is z itself
WeightedSum = Callable[[BoundFunction, Tensor, float], Tensor]
RULES: Mapping[str, WeightedSum | None] = MappingProxyType(
    {"epsilon": None, "gamma": _gamma, "alpha1_beta0": _alpha1_beta0}
)

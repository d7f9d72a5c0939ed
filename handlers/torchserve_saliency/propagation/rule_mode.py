"""A mode in which torch functions follow backward rules other than their derivatives.

It intercepts functions, methods and the functions that modules call, in place or not. The network is not modified.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchserve_saliency.propagation.decompositions import COMPOSITES
from torchserve_saliency.propagation.function_calls import BoundFunction, FunctionCall
from torchserve_saliency.propagation.torch_functions import OperationType, TorchFunction

Reference = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class RuleMode(TorchFunctionMode):
    """Inside this context, functions of activations are differentiated by `rule`; forward values stay unchanged."""

    def __torch_function__(
        self, func: TorchFunction, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in COMPOSITES and torch.is_grad_enabled():
            with self:
                return COMPOSITES[func](self.scale_rule, *args, **kwargs)
        call = FunctionCall.of(func, args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        result = self._division(call) if call.type is OperationType.DIVISION else self.rule(call)
        return call.argument(0, "input").copy_(result) if call.inplace else result

    def _division(self, call: FunctionCall) -> Any:
        """Return a quotient, computed as the product of the numerator and the reciprocal of the denominator."""
        numerator, denominator = call.argument(0, "input"), call.argument(1, "other")
        if not (isinstance(denominator, Tensor) and denominator.requires_grad) or call.kwargs.get("rounding_mode"):
            return call.evaluate()
        with self:
            return numerator * self.scale_rule(denominator).reciprocal()

    @abstractmethod
    def rule(self, call: FunctionCall) -> Any:
        """Return the value of a call, with the backward pass of the rule."""

    @abstractmethod
    def scale_rule(self, scale: Tensor) -> Tensor:
        """Return a scale that activations are multiplied or divided by, detached if the rule holds it constant."""


class Secant(torch.autograd.Function):
    """An elementwise y = f(x) whose slope is (y - y0) / (x - x0), for (x0, y0) = `reference(x, y)`.

    If x - x0 is no larger than its rounding error, the slope is the derivative between x and x0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: BoundFunction, reference: Reference) -> Tensor:
        y: Tensor = function(x)
        x0, y0 = reference(x, y)
        ctx.save_for_backward(_secant_slope(function, x, x0, y - y0))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None, None


def _secant_slope(function: BoundFunction, x: Tensor, x0: Tensor, delta_y: Tensor) -> Tensor:
    """Return `delta_y` / (x - x0), or the derivative if x - x0 is negligible or `delta_y` is infinite."""
    delta_x = x - x0
    use_derivative = is_negligible(delta_x, x) | ~delta_y.isfinite()
    if not use_derivative.any():
        return delta_y / delta_x
    slope = _derivative(function, torch.where(delta_y.isfinite(), x0 + delta_x / 2, x))
    return torch.where(use_derivative, slope, delta_y / delta_x)


def _derivative(function: BoundFunction, x: Tensor) -> Tensor:
    """Return the derivative of an elementwise function."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        slope: Tensor = torch.autograd.grad(function(leaf).sum(), leaf)[0]
    return slope


def is_negligible(difference: Tensor, x: Tensor) -> Tensor:
    """Tell for each element whether a difference from `x` is about as small as its rounding error."""
    threshold = 1e-10 if x.dtype is torch.float64 else 1e-5
    return difference.abs() <= threshold * (1 + x.abs())

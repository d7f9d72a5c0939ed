"""A backward pass by other rules than the derivative's: a mode that has each torch function follow its own.

It takes over functions, methods and what modules call, in place or not, reused or not; no module is touched.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from saliency.composites import COMPOSITES
from saliency.operations import Call, Function, Kind, Template

Reference = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Rewriting(TorchFunctionMode):
    """Inside this context, functions of activations go backward as `rule` says; all values stay what they are."""

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in COMPOSITES and torch.is_grad_enabled():
            with self:
                return COMPOSITES[func](self.hold, *args, **kwargs)
        call = Call.of(func, args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        result = self._divided(call) if call.kind is Kind.DIVISION else self.rule(call)
        return call.argument(0, "input").copy_(result) if call.inplace else result

    def _divided(self, call: Call) -> Any:
        """Return a quotient as the product that it is with its denominator's reciprocal."""
        over, under = call.argument(0, "input"), call.argument(1, "other")
        if not (isinstance(under, Tensor) and under.requires_grad) or call.kwargs.get("rounding_mode"):
            return call.plain()
        with self:
            return over * self.hold(under).reciprocal()

    @abstractmethod
    def rule(self, call: Call) -> Any:
        """Return what a call returns, made to go backward by a rule."""

    @abstractmethod
    def hold(self, scale: Tensor) -> Tensor:
        """Return what stands for a scale that activations are divided by."""


class Secant(torch.autograd.Function):
    """An elementwise y = f(x) whose slope is that of its secant from (x0, y0) = `reference(x, y)`.

    Where x is too near to x0 for a difference to say anything, the slope is the derivative between them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, on: Template, reference: Reference) -> Tensor:
        y: Tensor = on(x)
        x0, y0 = reference(x, y)
        ctx.save_for_backward(_secant(on, x, x0, y - y0))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope, None, None


def _secant(on: Template, x: Tensor, x0: Tensor, rise: Tensor) -> Tensor:
    """Return `rise` / (x - x0), or the derivative where that is nothing or the rise is infinite."""
    run = x - x0
    near = close(run, x) | ~rise.isfinite()
    if not near.any():
        return rise / run
    return torch.where(near, _derivative(on, torch.where(rise.isfinite(), x0 + run / 2, x)), rise / run)


def _derivative(on: Template, x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        slope: Tensor = torch.autograd.grad(on(leaf).sum(), leaf)[0]
    return slope


def close(difference: Tensor, x: Tensor) -> Tensor:
    """Tell where a difference from `x` is of the size of its rounding error, or little more."""
    threshold = 1e-10 if x.dtype is torch.float64 else 1e-5
    return difference.abs() <= threshold * (1 + x.abs())

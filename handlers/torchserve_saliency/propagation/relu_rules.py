"""Backward rules of ReLU, chosen per row of a batch: plain, guided backpropagation, deconvolution.

A `TorchFunctionMode` intercepts every form of ReLU while it is active: modules, functions and methods, in place or
not, used once or several times. The network itself is not modified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchserve_saliency.propagation.torch_functions import TorchFunction


class Rule(Enum):
    """The condition under which y = max(x, 0) passes the gradient g of y on to x; otherwise x receives 0.

    PLAIN: if x > 0. GUIDED (Springenberg et al. 2014): if x > 0 and g > 0.
    DECONVOLUTION (Zeiler and Fergus 2013): if g > 0.
    """

    PLAIN = "plain"
    GUIDED = "guided"
    DECONVOLUTION = "deconvolution"


class _Rectifier(NamedTuple):
    """A function that clamps its input to [0, maximum]; the maximum is infinite for ReLU and 6 for ReLU6."""

    maximum: float
    inplace: bool = False


class _RectifierCall(NamedTuple):
    """The call of a rectifier: its input and the arguments that matter here."""

    x: Tensor
    maximum: float
    inplace: bool


_RELU, _RELU_INPLACE = _Rectifier(float("inf")), _Rectifier(float("inf"), inplace=True)
_RECTIFIERS: Mapping[TorchFunction, _Rectifier] = MappingProxyType(
    {
        F.relu: _RELU,
        torch.relu: _RELU,
        Tensor.relu: _RELU,
        F.relu_: _RELU_INPLACE,
        torch.relu_: _RELU_INPLACE,
        Tensor.relu_: _RELU_INPLACE,
        F.relu6: _Rectifier(6.0),
    }
)


class _Rectify(torch.autograd.Function):
    """A clamp to [0, maximum] with a backward rule per row.

    The gradient passes if 0 < y < maximum, or regardless of y if the row is marked in `deconvolution`. If the row is
    marked in `positive_only`, the gradient must be positive as well.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, maximum: float, deconvolution: Tensor, positive_only: Tensor) -> Tensor:
        y = x.clamp(0, maximum) if maximum < float("inf") else x.clamp_min(0)
        ctx.save_for_backward(y, deconvolution, positive_only)
        ctx.maximum = maximum
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        y, deconvolution, positive_only = ctx.saved_tensors
        (grad,) = grads
        passes = ((y > 0) & (y < ctx.maximum)) | deconvolution
        passes &= (grad > 0) | ~positive_only
        return grad * passes, None, None, None


class RowRules(TorchFunctionMode):
    """Inside this context, row i of every rectifier's batch follows `rules[i]`."""

    def __init__(self, rules: Sequence[Rule], device: torch.device) -> None:
        super().__init__()
        self._deconvolution = torch.tensor([r is Rule.DECONVOLUTION for r in rules], device=device)
        self._positive_only = torch.tensor([r is not Rule.PLAIN for r in rules], device=device)

    def __torch_function__(
        self, func: TorchFunction, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = _rectifier_call(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        x = call.x
        y = _Rectify.apply(x, call.maximum, _per_row(self._deconvolution, x), _per_row(self._positive_only, x))
        # copy_ keeps views and aliases correct in autograd, which an in-place custom function would not
        return x.copy_(y) if call.inplace else y


def _per_row(flags: Tensor, x: Tensor) -> Tensor:
    """Return the flags [n] in a shape that broadcasts over `x` [k·n, …]; a network may cut each picture in k windows.

    Raise ValueError if the first dimension of `x` is not a multiple of n and the flags differ.
    """
    windows, rest = divmod(x.shape[0], len(flags))
    if rest and not (flags == flags[0]).all():
        raise ValueError("rules per row need a network whose rectifiers have the batch as their first dimension")
    flags = flags[:1] if rest else flags.repeat_interleave(windows)
    return flags.view(-1, *[1] * (x.dim() - 1))


def _rectifier_call(func: TorchFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _RectifierCall | None:
    """Return the call if `func` is a rectifier, else None."""
    if func is F.hardtanh:
        return _hardtanh_call(*args, **kwargs)
    if func not in _RECTIFIERS:
        return None
    maximum, inplace = _RECTIFIERS[func]
    x: Tensor = args[0] if args else kwargs["input"]
    return _RectifierCall(x, maximum, inplace or bool(args[1] if len(args) > 1 else kwargs.get("inplace", False)))


def _hardtanh_call(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> _RectifierCall | None:
    """Return the call of hardtanh if its minimum is 0: nn.ReLU6 is implemented as hardtanh from 0 to 6."""
    return _RectifierCall(input, max_val, inplace) if min_val == 0 else None


class _RectifierCounter(TorchFunctionMode):
    """Counts the rectifier calls inside this context."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: int = 0

    def __torch_function__(
        self, func: TorchFunction, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.calls += _rectifier_call(func, args, kwargs or {}) is not None
        return func(*args, **(kwargs or {}))


def count_rectifiers(forward: Callable[[Tensor], Tensor], example: Tensor) -> int:
    """Return the number of ReLU calls in one forward pass of `example` [n, C, H, W]."""
    with torch.no_grad(), _RectifierCounter() as counter:
        forward(example)
    return int(counter.calls)

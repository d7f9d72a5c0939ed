"""Backward rules of the rectifier, a rule a row: plain, guided backpropagation, deconvolution.

The rules come in by a `TorchFunctionMode` that takes over every spelling of ReLU while it is entered: modules,
functions, methods, in place or not, reused or not. No module of the network is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]


class Rule(Enum):
    """What a rectifier y = max(x, 0) does with the gradient g that comes back to it.

    PLAIN: g where x > 0. GUIDED (Springenberg et al. 2014): g where x > 0 and g > 0.
    DECONVOLUTION (Zeiler and Fergus 2013): g where g > 0.
    """

    PLAIN = "plain"
    GUIDED = "guided"
    DECONVOLUTION = "deconvolution"


# every spelling -> the ceiling of its output: ReLU6 is a rectifier that also saturates
_SPELLINGS: Mapping[Function, tuple[float, bool]] = MappingProxyType(
    {
        F.relu: (float("inf"), False),
        torch.relu: (float("inf"), False),
        Tensor.relu: (float("inf"), False),
        F.relu_: (float("inf"), True),
        torch.relu_: (float("inf"), True),
        Tensor.relu_: (float("inf"), True),
        F.relu6: (6.0, False),
    }
)


class _Rectify(torch.autograd.Function):
    """A clamp to [0, ceiling] whose backward follows each row's rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float, deconvolved: Tensor, clamped: Tensor) -> Tensor:
        y = x.clamp(0, ceiling) if ceiling < float("inf") else x.clamp_min(0)
        ctx.save_for_backward(y, deconvolved, clamped)
        ctx.ceiling = ceiling
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        y, deconvolved, clamped = ctx.saved_tensors
        (grad,) = grads
        passes = ((y > 0) & (y < ctx.ceiling)) | deconvolved
        passes &= (grad > 0) | ~clamped
        return grad * passes, None, None, None


class RowRules(TorchFunctionMode):
    """Inside this context, row i of every rectifier's batch follows `rules[i]`."""

    def __init__(self, rules: Sequence[Rule], device: torch.device) -> None:
        super().__init__()
        self._deconvolved = torch.tensor([r is Rule.DECONVOLUTION for r in rules], device=device)
        self._clamped = torch.tensor([r is not Rule.PLAIN for r in rules], device=device)

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rectifier = _rectifier(func, args, kwargs or {})
        if rectifier is None:
            return func(*args, **(kwargs or {}))
        x, ceiling, inplace = rectifier
        y = _Rectify.apply(x, ceiling, _rows(self._deconvolved, x), _rows(self._clamped, x))
        # autograd's own in-place copy keeps views and aliases right, which a custom function in place would not
        return x.copy_(y) if inplace else y


def _rows(flags: Tensor, x: Tensor) -> Tensor:
    """Return one flag a row of `x`, shaped to broadcast; a network that cuts pictures in k windows has k·n rows."""
    windows, rest = divmod(x.shape[0], len(flags))
    if rest and not (flags == flags[0]).all():
        raise ValueError("a rectifier whose first dimension is not the batch cannot follow a rule a row")
    flags = flags[:1] if rest else flags.repeat_interleave(windows)
    return flags.view(-1, *[1] * (x.dim() - 1))


def _rectifier(func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, float, bool] | None:
    """Return a rectifier call's (input, ceiling, in place), or None for any other function."""
    if func is F.hardtanh:
        return _hardtanh(*args, **kwargs)
    if func not in _SPELLINGS:
        return None
    ceiling, inplace = _SPELLINGS[func]
    x: Tensor = args[0] if args else kwargs["input"]
    return x, ceiling, inplace or bool(args[1] if len(args) > 1 else kwargs.get("inplace", False))


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> tuple[Tensor, float, bool] | None:
    """Return hardtanh as a rectifier where it is one: nn.ReLU6 is a hardtanh from 0 to 6."""
    return (input, max_val, inplace) if min_val == 0 else None


class _Counter(TorchFunctionMode):
    """Counts the rectifier calls made inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: int = 0

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.calls += _rectifier(func, args, kwargs or {}) is not None
        return func(*args, **(kwargs or {}))


def count_rectifiers(forward: Callable[[Tensor], Tensor], example: Tensor) -> int:
    """Return how many ReLU calls one forward pass of `example` [n, C, H, W] makes."""
    with torch.no_grad(), _Counter() as counter:
        forward(example)
    return int(counter.calls)

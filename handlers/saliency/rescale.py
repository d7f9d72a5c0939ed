"""DeepLIFT's backward pass (Shrikumar et al. 2017): multipliers of differences from a baseline for derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.errors import RequestError
from saliency.operations import Call, Kind, Template
from saliency.rewriting import Rewriting, Secant, close
from saliency.rows import Tapped

Swap = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rescale:
    """Rows in pairs, an input and its baseline; the gradient of either is the multiplier of their difference.

    For every pair, sum(multiplier * (input - baseline)) is the difference of what is differentiated, wherever the
    network is made of: linear functions; elementwise nonlinearities (rescale rule); maximum pooling, each half of the
    difference going to the place of its maximum; products, a factor's difference times the other's mean; softmax,
    by the logarithmic means of its probabilities; norms, which are made of these. All else keeps its derivative.
    """

    grain: int = 2
    taps: bool = False

    def around(self, rows: int) -> AbstractContextManager[Tapped]:
        return _around(rows)


@contextmanager
def _around(rows: int) -> Iterator[Tapped]:
    with _Rescaling(rows):
        yield {}


class _Rescaling(Rewriting):
    """The mode for a batch of that many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    def rule(self, call: Call) -> Any:
        return _RULES[call.kind](call, self._swapped)

    def hold(self, scale: Tensor) -> Tensor:
        return scale

    def _swapped(self, x: Tensor) -> Tensor:
        """Return `x` with every row in its partner's place; a network that cuts pictures in k windows has k·n rows."""
        windows, rest = divmod(x.shape[0], self._rows) if x.dim() else (0, 1)
        if rest or not windows:
            message = "DeepLIFT needs the batch in front, and this network has a nonlinearity that has it elsewhere"
            raise RequestError(422, "MethodException", message, "method")
        swapped: Tensor = x.unflatten(0, (self._rows // 2, 2, windows)).flip(1).flatten(0, 2)
        return swapped


def _elementwise(call: Call, swap: Swap) -> Any:
    """Return a nonlinearity by the rescale rule: the difference that comes out over the one that goes in."""
    if len(call.activations) > 1:
        return call.plain()
    return Secant.apply(call.activations[0], call.on, lambda x, y: (swap(x), swap(y)))


def _product(call: Call, swap: Swap) -> Any:
    """Return what is linear in each activation; products of two are differentiated halfway between the rows."""
    if len(call.activations) == 1:
        return call.plain()
    return _Halfway.apply(call.on, swap, *call.activations)


def _softmax(call: Call, swap: Swap) -> Any:
    dim = call.argument(1, "dim")
    if dim is None:
        return call.plain()
    return _Softmax.apply(call.activations[0], call.on, call.name == "log_softmax", dim, swap)


def _max_pool(call: Call, swap: Swap) -> Any:
    adaptive = call.name.startswith("adaptive")
    pool = getattr(F, call.name.removesuffix("_with_indices"))
    options = {k: v for k, v in call.kwargs.items() if k not in ("input", "return_indices")}
    args = call.args[1 : 2 if adaptive else 6]
    y, indices = _MaxPool.apply(call.activations[0], lambda x: pool(x, *args, **options, return_indices=True), swap)
    return (y, indices) if call.name.endswith("indices") else y


_RULES: Mapping[Kind, Callable[[Call, Swap], Any]] = MappingProxyType(
    {
        Kind.ELEMENTWISE: _elementwise,
        Kind.LINEAR: _product,
        Kind.SCALING: _product,
        Kind.SOFTMAX: _softmax,
        Kind.MAX_POOL: _max_pool,
    }
)


class _Halfway(torch.autograd.Function):
    """A function linear in each of its activations, differentiated where the two rows of each pair meet halfway.

    a b - a0 b0 = (a - a0) (b + b0) / 2 + (b - b0) (a + a0) / 2.
    """

    @staticmethod
    def forward(ctx: Any, on: Template, swap: Swap, *activations: Tensor) -> Tensor:
        ctx.on = on
        ctx.save_for_backward(*((a + swap(a)) / 2 for a in activations))
        y: Tensor = on(*activations)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        with torch.enable_grad():
            halfway = [a.detach().requires_grad_() for a in ctx.saved_tensors]
            y = ctx.on(*halfway)
        return None, None, *torch.autograd.grad(y, halfway, grads[0])


class _Softmax(torch.autograd.Function):
    """Probabilities p of x, or their logarithms, by m, the logarithmic mean of a pair's two p.

    As log p = x - log sum exp x and p - p0 = m (log p - log p0), and the p sum to 1 in both rows:
    log p - log p0 = (x - x0) - sum(m (x - x0)) / sum(m), to the last digit.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, on: Template, logarithm: bool, dim: int, swap: Swap) -> Tensor:
        y: Tensor = on(x)
        ctx.dim, ctx.logarithm = dim, logarithm
        log_p = x.log_softmax(dim)
        ctx.save_for_backward(_logarithmic_mean(log_p, swap(log_p)))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (mean,) = ctx.saved_tensors
        grad = grads[0] if ctx.logarithm else grads[0] * mean
        shared = mean / mean.sum(ctx.dim, keepdim=True)
        return grad - shared * grad.sum(ctx.dim, keepdim=True), None, None, None, None


def _logarithmic_mean(log_p: Tensor, log_p0: Tensor) -> Tensor:
    """Return (p - p0) / (log p - log p0) of probabilities in logarithms, 0 where both are 0."""
    high, apart = torch.maximum(log_p, log_p0), (log_p - log_p0).abs()
    ratio = torch.where(apart > 0, -torch.expm1(-apart) / apart, 1.0)
    return torch.where(high.isneginf() | apart.isinf(), 0.0, high.exp() * ratio)


class _MaxPool(torch.autograd.Function):
    """Maxima y, the difference y - y0 split at max(y, y0): what rose goes to where y is, what fell to where y0 was.

    A place's multipliers of all the windows that it lies in are added.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Callable[[Tensor], tuple[Tensor, Tensor]], swap: Swap) -> tuple[Any, ...]:
        y, here = pool(x)
        y0, there = swap(y), swap(here)
        top = torch.maximum(y, y0)
        run, level = (x - swap(x)).flatten(2), close(y - y0, y) * 0.5
        risen = _share(top - y0, run, here, x, level)
        fallen = _share(y - top, run, there, x, level)
        ctx.shape = x.shape
        ctx.save_for_backward(here.flatten(2), there.flatten(2), risen, fallen)
        ctx.mark_non_differentiable(here)
        return y, here

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        here, there, risen, fallen = ctx.saved_tensors
        grad = grads[0].flatten(2)
        back = grad.new_zeros(ctx.shape).flatten(2)
        back.scatter_add_(2, here, grad * risen).scatter_add_(2, there, grad * fallen)
        return back.view(ctx.shape), None, None


def _share(part: Tensor, run: Tensor, places: Tensor, x: Tensor, level: Tensor) -> Tensor:
    """Return a part of each window's difference over the run at its place, 0 to 1; `level` where there is none."""
    places = places.flatten(2)
    apart = run.gather(2, places)
    still = close(apart, x.flatten(2).gather(2, places))
    return torch.where(still, level.flatten(2), part.flatten(2) / torch.where(still, 1.0, apart))

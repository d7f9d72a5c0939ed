"""DeepLIFT multipliers (Shrikumar et al. 2017) of products, softmax and maximum pooling, as autograd functions.

A batch holds pairs of rows, an input x and its baseline x0. A multiplier is a contribution to the difference of the
outputs divided by the difference of the inputs; gradients are replaced by multipliers m with Σ m (x - x0) = y - y0.
`swap` returns a tensor in which the two rows of each pair have changed places, so swap(x) is x0 in the row of x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchserve_saliency.propagation.function_calls import BoundFunction
from torchserve_saliency.propagation.rule_mode import is_negligible

Swap = Callable[[Tensor], Tensor]


class MultilinearMidpoint(torch.autograd.Function):
    """A function that is linear in each of its activations, differentiated at the midpoint of the two rows.

    For a product, a b - a0 b0 = (a - a0) (b + b0) / 2 + (b - b0) (a + a0) / 2.
    """

    @staticmethod
    def forward(ctx: Any, function: BoundFunction, swap: Swap, *activations: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*((a + swap(a)) / 2 for a in activations))
        y: Tensor = function(*activations)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        with torch.enable_grad():
            midpoints = [a.detach().requires_grad_() for a in ctx.saved_tensors]
            y = ctx.function(*midpoints)
        return None, None, *torch.autograd.grad(y, midpoints, grads[0])


class SoftmaxMultipliers(torch.autograd.Function):
    """Probabilities p = softmax(x), or log p, with multipliers from the logarithmic means m of p and p0.

    Since log p = x - log Σ exp x, there is one c per softmax with log p - log p0 = x - x0 - c. By the definition of m,
    p - p0 = m (log p - log p0) = m (x - x0 - c). Both p and p0 sum to 1, so c = Σ m (x - x0) / Σ m.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: BoundFunction, logarithm: bool, dim: int, swap: Swap) -> Tensor:
        y: Tensor = function(x)
        ctx.dim, ctx.logarithm = dim, logarithm
        log_p = x.log_softmax(dim)
        ctx.save_for_backward(logarithmic_mean(log_p, swap(log_p)))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (mean,) = ctx.saved_tensors
        grad = grads[0] if ctx.logarithm else grads[0] * mean
        weights = mean / mean.sum(ctx.dim, keepdim=True)
        return grad - weights * grad.sum(ctx.dim, keepdim=True), None, None, None, None


def logarithmic_mean(log_p: Tensor, log_p0: Tensor) -> Tensor:
    """Return the logarithmic mean (p - p0) / (log p - log p0) of probabilities that are given as logarithms.

    It lies between p and p0, and is 0 if either of them is 0. With h the larger logarithm and d the absolute difference
    of both, it equals exp(h) (1 - exp(-d)) / d, which is accurate for a small d, too.
    """
    larger, difference = torch.maximum(log_p, log_p0), (log_p - log_p0).abs()
    ratio = torch.where(difference > 0, -torch.expm1(-difference) / difference, 1.0)
    return torch.where(larger.isneginf() | difference.isinf(), 0.0, larger.exp() * ratio)


class MaxPoolMultipliers(torch.autograd.Function):
    """Maximum pooling, the difference of each window's maxima attributed to the positions of both maxima.

    Let a window have its maximum y at position i of x, and its maximum y0 at position j of x0, and M = max(y, y0).
    Then y - y0 = (M - y0) + (y - M). The first term is attributed to position i, by the multiplier
    (M - y0) / (x_i - x0_i), and the second to position j, by (y - M) / (x_j - x0_j). Both multipliers are from 0 to 1.
    The multipliers of a position that belongs to several windows are added.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Callable[[Tensor], tuple[Tensor, Tensor]], swap: Swap) -> tuple[Any, ...]:
        y, i = pool(x)
        y0, j, x0 = swap(y), swap(i), swap(x)
        larger = torch.maximum(y, y0)
        # if neither x nor y differs from its baseline, i = j, and two halves are the derivative
        default = is_negligible(y - y0, y) * 0.5
        at_i = _quotient_at(i, larger - y0, x, x0, default)
        at_j = _quotient_at(j, y - larger, x, x0, default)
        ctx.shape = x.shape
        ctx.save_for_backward(i.flatten(2), j.flatten(2), at_i, at_j)
        ctx.mark_non_differentiable(i)
        return y, i

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        i, j, at_i, at_j = ctx.saved_tensors
        grad = grads[0].flatten(2)
        grad_x = grad.new_zeros(ctx.shape).flatten(2)
        grad_x.scatter_add_(2, i, grad * at_i).scatter_add_(2, j, grad * at_j)
        return grad_x.view(ctx.shape), None, None


def _quotient_at(positions: Tensor, term: Tensor, x: Tensor, x0: Tensor, default: Tensor) -> Tensor:
    """Return term / (x - x0) at `positions` of x and x0, or `default` if that difference is negligible.

    `positions`, `term` and `default` have one element per window, [n, C, …]; the result is [n, C, windows].
    """
    positions = positions.flatten(2)
    x, x0 = x.flatten(2).gather(2, positions), x0.flatten(2).gather(2, positions)
    negligible = is_negligible(x - x0, x)
    return torch.where(negligible, default.flatten(2), term.flatten(2) / torch.where(negligible, 1.0, x - x0))

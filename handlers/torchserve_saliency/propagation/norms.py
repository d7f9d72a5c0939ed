"""Normalisation functions of PyTorch written as simple operations: differences, products, means and one scale.

Each multiplies its input by a scale that depends on the input, such as 1 / √(variance + eps). `scale_rule` receives
that scale and returns it unchanged, or detached if the rule treats it as a constant.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ScaleRule = Callable[[Tensor], Tensor]


def _standardize(scale_rule: ScaleRule, x: Tensor, dims: tuple[int, ...], eps: float, centred: bool = True) -> Tensor:
    """Return (x - mean) / √(variance + eps) along `dims`; if not `centred`, x / √(mean square + eps)."""
    centred_x = x - x.mean(dims, keepdim=True) if centred else x
    return centred_x * scale_rule(((centred_x * centred_x).mean(dims, keepdim=True) + eps).rsqrt())


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return x · weight + bias, without a factor or a term that is None."""
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def layer_norm(
    scale_rule: ScaleRule,
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *rest: object,
) -> Tensor:
    """Return `F.layer_norm`."""
    return _affine(_standardize(scale_rule, input, _last_dims(normalized_shape), eps), weight, bias)


def rms_norm(
    scale_rule: ScaleRule,
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Return `F.rms_norm`."""
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(_standardize(scale_rule, input, _last_dims(normalized_shape), eps, centred=False), weight, None)


def _last_dims(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the indices of the last dimensions, one per entry of `shape`."""
    return tuple(range(-len(shape), 0))


def group_norm(
    scale_rule: ScaleRule,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *rest: object,
) -> Tensor:
    """Return `F.group_norm`."""
    grouped = input.reshape(len(input), num_groups, -1)
    return _affine_per_channel(_standardize(scale_rule, grouped, (2,), eps).reshape(input.shape), weight, bias)


def instance_norm(
    scale_rule: ScaleRule,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *rest: object,
) -> Tensor:
    """Return `F.instance_norm`, by the statistics of the input or the running ones."""
    if use_input_stats:
        normed = _standardize(scale_rule, input, tuple(range(2, input.dim())), eps)
    else:
        assert running_mean is not None
        assert running_var is not None
        scale = (running_var + eps).rsqrt()
        normed = _affine_per_channel(input, scale, -running_mean * scale)
    return _affine_per_channel(normed, weight, bias)


def _affine_per_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return `x` [n, C, …] times `weight` plus `bias`, both [C]."""
    shape = 1, -1, *[1] * (x.dim() - 2)
    return _affine(x, *(None if t is None else t.view(shape) for t in (weight, bias)))


def normalize(
    scale_rule: ScaleRule, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """Return `F.normalize`, which divides by the p-norm along `dim`."""
    if p != 2:
        return input * scale_rule(input.norm(p, dim, keepdim=True).clamp_min(eps).reciprocal())
    return input * scale_rule((input * input).sum(dim, keepdim=True).clamp_min(eps**2).rsqrt())

"""Functions that are several operations in one, spelt in those operations, so that each can follow its own rule.

`hold` is what a rule makes of a scale that activations are divided by: the scale itself, or a constant.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.attending import attention_scores, opened, shared_heads
from saliency.operations import Function, spellings

Hold = Callable[[Tensor], Tensor]
Composite = Callable[..., Any]


def _standardised(hold: Hold, x: Tensor, dims: tuple[int, ...], eps: float, centred: bool = True) -> Tensor:
    """Return `x` over its root mean square about its mean (or 0) along `dims`."""
    apart = x - x.mean(dims, keepdim=True) if centred else x
    return apart * hold(((apart * apart).mean(dims, keepdim=True) + eps).rsqrt())


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _layer_norm(
    hold: Hold,
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *rest: object,
) -> Tensor:
    return _affine(_standardised(hold, input, _last(normalized_shape), eps), weight, bias)


def _rms_norm(
    hold: Hold,
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(_standardised(hold, input, _last(normalized_shape), eps, centred=False), weight, None)


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the last dimensions, as many as a shape has."""
    return tuple(range(-len(shape), 0))


def _group_norm(
    hold: Hold,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *rest: object,
) -> Tensor:
    grouped = input.reshape(len(input), num_groups, -1)
    return _by_channel(_standardised(hold, grouped, (2,), eps).reshape(input.shape), weight, bias)


def _instance_norm(
    hold: Hold,
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
    if use_input_stats:
        normed = _standardised(hold, input, tuple(range(2, input.dim())), eps)
    else:
        assert running_mean is not None
        assert running_var is not None
        scale = (running_var + eps).rsqrt()
        normed = _by_channel(input, scale, -running_mean * scale)
    return _by_channel(normed, weight, bias)


def _by_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return `x` [n, C, …] with a factor and an addend [C] for each channel."""
    shape = 1, -1, *[1] * (x.dim() - 2)
    return _affine(x, *(None if t is None else t.view(shape) for t in (weight, bias)))


def _normalize(
    hold: Hold, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    if p != 2:
        return input * hold(input.norm(p, dim, keepdim=True).clamp_min(eps).reciprocal())
    return input * hold((input * input).sum(dim, keepdim=True).clamp_min(eps**2).rsqrt())


def _attention(
    hold: Hold,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa:
        key, value = shared_heads(query, key, value)
    return attention_scores(query, key, attn_mask, is_causal, scale).softmax(-1) @ value


def _baddbmm(hold: Hold, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return input * beta + batch1 @ batch2 * alpha


def _softmin(
    hold: Hold, input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    return F.softmax(-input, dim, _stacklevel, dtype)


def _glu(hold: Hold, input: Tensor, dim: int = -1) -> Tensor:
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def _multi_head(hold: Hold, *args: object, **kwargs: object) -> object:
    return _MULTI_HEAD(*args, **kwargs)


_MULTI_HEAD = opened(inspect.unwrap(F.multi_head_attention_forward))
_BY_NAME: Mapping[str, Composite] = MappingProxyType(
    {
        "layer_norm": _layer_norm,
        "rms_norm": _rms_norm,
        "group_norm": _group_norm,
        "instance_norm": _instance_norm,
        "normalize": _normalize,
        "scaled_dot_product_attention": _attention,
        "multi_head_attention_forward": _multi_head,
        "baddbmm": _baddbmm,
        "softmin": _softmin,
        "glu": _glu,
    }
)
COMPOSITES: Mapping[Function, Composite] = MappingProxyType(
    {
        function: composite
        for name, composite in _BY_NAME.items()
        for function, inplace in spellings(name)
        if not inplace
    }
)

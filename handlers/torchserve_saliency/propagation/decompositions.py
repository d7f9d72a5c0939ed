"""Fused torch functions written as the simple operations that they consist of, so that each can follow its own rule.

Each takes the arguments of the function that it replaces, after a `scale_rule` for the scale of a normalisation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.propagation import norms
from torchserve_saliency.propagation.attention_math import attention_scores, repeat_heads, without_override_check
from torchserve_saliency.propagation.norms import ScaleRule
from torchserve_saliency.propagation.torch_functions import TorchFunction, functions_named

Composite = Callable[..., Any]


def _attention(
    scale_rule: ScaleRule,
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
        key, value = repeat_heads(query, key, value)
    return attention_scores(query, key, attn_mask, is_causal, scale).softmax(-1) @ value


def _baddbmm(
    scale_rule: ScaleRule, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return input * beta + batch1 @ batch2 * alpha


def _softmin(
    scale_rule: ScaleRule, input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    return F.softmax(-input, dim, _stacklevel, dtype)


def _glu(scale_rule: ScaleRule, input: Tensor, dim: int = -1) -> Tensor:
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def _multi_head_attention(scale_rule: ScaleRule, *args: object, **kwargs: object) -> object:
    return _MULTI_HEAD_ATTENTION(*args, **kwargs)


_MULTI_HEAD_ATTENTION = without_override_check(inspect.unwrap(F.multi_head_attention_forward))
_BY_NAME: Mapping[str, Composite] = MappingProxyType(
    {
        "layer_norm": norms.layer_norm,
        "rms_norm": norms.rms_norm,
        "group_norm": norms.group_norm,
        "instance_norm": norms.instance_norm,
        "normalize": norms.normalize,
        "scaled_dot_product_attention": _attention,
        "multi_head_attention_forward": _multi_head_attention,
        "baddbmm": _baddbmm,
        "softmin": _softmin,
        "glu": _glu,
    }
)
COMPOSITES: Mapping[TorchFunction, Composite] = MappingProxyType(
    {
        function: composite
        for name, composite in _BY_NAME.items()
        for function, inplace in functions_named(name)
        if not inplace
    }
)

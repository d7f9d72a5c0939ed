"""Attention computed step by step, for modes that capture its matrices or give each step its own backward rule."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from torchserve_saliency.propagation.torch_functions import TorchFunction


def attention_scores(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return q kᵀ · scale + mask [..., t, s], the softmax input of `scaled_dot_product_attention`.

    The default scale is 1 / √d for d features per head.
    """
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else scores + mask


def repeat_heads(query: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return keys and values with their heads repeated to match the query's, for grouped-query attention."""
    return tuple(tensor.repeat_interleave(query.shape[-3] // tensor.shape[-3], -3) for tensor in tensors)


def without_override_check(function: TorchFunction, **globals: Any) -> TorchFunction:
    """Return a copy of a Python function that does not look for `__torch_function__` overrides.

    `globals` replace names in the copy's namespace. If a mode called the original function, the function would either
    run without the mode, hiding its inner calls, or call back into the mode without end. The copy runs the same code
    with other globals, so that nothing needs to be patched or duplicated.
    """
    assert isinstance(function, FunctionType)
    namespace = {**function.__globals__, "has_torch_function": lambda tensors: False, **globals}
    copied = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied

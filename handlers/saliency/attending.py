"""Attention spelt in simple steps, for modes that listen to it or have each step go backward by a rule."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]


def attention_scores(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return q kᵀ · scale + mask [..., t, s]: what `scaled_dot_product_attention` takes the softmax of."""
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else scores + mask


def shared_heads(query: Tensor, *heads: Tensor) -> tuple[Tensor, ...]:
    """Return keys and values repeated for the queries' heads that share them."""
    return tuple(each.repeat_interleave(query.shape[-3] // each.shape[-3], -3) for each in heads)


def opened(function: Function, **others: Function) -> Function:
    """Return a function of Python that no longer asks whether somebody overrides it, with others in its namespace.

    Called from a mode, it would run without the mode and show nothing of what it does; called inside the mode again, it
    would come straight back. So its code is run with other globals: nothing is patched, and no code repeated.
    """
    assert isinstance(function, FunctionType)
    namespace = {**function.__globals__, "has_torch_function": lambda tensors: False, **others}
    found = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__)
    found.__kwdefaults__ = function.__kwdefaults__
    return found

"""Capture of the attention matrices that a network computes, with their gradients on request.

A `TorchFunctionMode` intercepts `scaled_dot_product_attention` and every form of softmax while it is active. The
network itself is not modified.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchserve_saliency.propagation.attention_math import attention_scores, repeat_heads, without_override_check
from torchserve_saliency.propagation.torch_functions import TorchFunction

_SOFTMAX: frozenset[TorchFunction] = frozenset({F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax})


@dataclass(frozen=True)
class Attention:
    """A mode whose outputs are the attention matrices [n, heads, t, t]: "attention 0", "attention 1", … in call order.

    If `captures` is true, the graph starts at the first matrix, and gradients are taken with respect to the matrices.
    """

    captures: bool = False
    group_size: int = 1

    @contextmanager
    def around(self, rows: int) -> Iterator[Mapping[str, Tensor]]:
        """Yield the matrices of a batch of `rows` rows; the forward pass fills them in."""
        with AttentionCapture(rows, self.captures) as capture:
            yield capture.matrices


class AttentionCapture(TorchFunctionMode):
    """Collects the attention matrices of a forward pass of `rows` rows inside this context.

    A matrix has the shape [rows, heads, …] if its first dimension is a multiple of `rows`. If `start_graph` is true, a
    matrix that requires no gradient becomes a leaf that does.
    """

    def __init__(self, rows: int, start_graph: bool) -> None:
        super().__init__()
        self.matrices: dict[str, Tensor] = {}
        self._rows = rows
        self._start_graph = start_graph
        self._multi_head_attention = without_override_check(
            inspect.unwrap(F.multi_head_attention_forward),
            scaled_dot_product_attention=self._scaled_dot_product_attention,
            softmax=self._softmax,
        )

    def __torch_function__(
        self, func: TorchFunction, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._multi_head_attention(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._scaled_dot_product_attention(*args, **kwargs)
        if func in _SOFTMAX and _over_last_dimension(args, kwargs):
            return self._collect(func(*args, **kwargs))
        return func(*args, **kwargs)

    def _scaled_dot_product_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return softmax(q kᵀ · scale + mask) v as PyTorch's function does, and collect the softmax."""
        if enable_gqa:
            key, value = repeat_heads(query, key, value)
        scores = attention_scores(query, key, attn_mask, is_causal, scale)
        matrix = self._collect(scores.softmax(-1).to(value.dtype))
        return torch.dropout(matrix, dropout_p, dropout_p > 0) @ value

    def _softmax(self, scores: Tensor, dim: int) -> Tensor:
        """Return the softmax over the last dimension, collected."""
        return self._collect(scores.softmax(dim))

    def _collect(self, matrix: Tensor) -> Tensor:
        """Return a softmax's output for the network to continue with; collect it if it may be an attention matrix."""
        square = matrix.dim() == 3 and matrix.shape[-1] == matrix.shape[-2]
        if matrix.shape[-1] == 1 or not (matrix.dim() > 3 or square):
            return matrix
        collected = matrix
        if square and len(matrix) % self._rows == 0:
            collected = matrix.view(self._rows, -1, *matrix.shape[1:])
        if self._start_graph and not collected.requires_grad:
            collected = collected.detach().requires_grad_()
        self.matrices[f"attention {len(self.matrices)}"] = collected
        return collected.clone().view_as(matrix)  # a later in-place operation must not change the collected matrix


def _over_last_dimension(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a softmax call is over the last dimension."""
    x: Tensor = args[0] if args else kwargs["input"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return dim is not None and dim in (-1, x.dim() - 1)

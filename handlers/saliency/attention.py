"""Self-attention listened to: the matrices that a transformer weighs its tokens with, on the way of the gradient.

A `TorchFunctionMode` takes over `scaled_dot_product_attention` and softmax in every spelling while it is entered. No
module of the network is touched.
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

from saliency.attending import Function, attention_scores, opened, shared_heads
from saliency.rows import Tapped

_SOFTMAX: frozenset[Function] = frozenset({F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax})


@dataclass(frozen=True)
class Attention:
    """The mode of rows that tap a network's attention matrices: "attention 0", … [n, heads, t, t], in order.

    With `taps` their gradients come too, and the graph starts at the first of them: nothing before it is recorded.
    """

    taps: bool = False
    grain: int = 1

    @contextmanager
    def around(self, rows: int) -> Iterator[Tapped]:
        """Collect the matrices of a batch of so many rows."""
        with Listening(rows, self.taps) as listening:
            yield listening.matrices


class Listening(TorchFunctionMode):
    """Collects the attention matrices of a forward pass of `rows` rows made inside it; with `cut` they start a graph.

    A matrix is [rows, heads, …] wherever the first dimension allows that.
    """

    def __init__(self, rows: int, cut: bool) -> None:
        super().__init__()
        self.matrices: dict[str, Tensor] = {}
        self._rows = rows
        self._cut = cut
        self._multi_head = opened(
            inspect.unwrap(F.multi_head_attention_forward),
            scaled_dot_product_attention=self._attend,
            softmax=self._soften,
        )

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func in _SOFTMAX and _over_last(args, kwargs):
            return self._heard(func(*args, **kwargs))
        return func(*args, **kwargs)

    def _attend(
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
        """Return softmax(q kᵀ · scale + mask) v: what `scaled_dot_product_attention` returns, its matrix collected."""
        if enable_gqa:
            key, value = shared_heads(query, key, value)
        scores = attention_scores(query, key, attn_mask, is_causal, scale)
        matrix = self._heard(scores.softmax(-1).to(value.dtype))
        return torch.dropout(matrix, dropout_p, dropout_p > 0) @ value

    def _soften(self, scores: Tensor, dim: int) -> Tensor:
        """Return a softmax over the last dimension, collected."""
        return self._heard(scores.softmax(dim))

    def _heard(self, matrix: Tensor) -> Tensor:
        """Return a softmax's output for the network to go on with; it is collected where it can be attention."""
        square = matrix.dim() == 3 and matrix.shape[-1] == matrix.shape[-2]
        if matrix.shape[-1] == 1 or not (matrix.dim() > 3 or square):
            return matrix
        own = matrix
        if square and len(matrix) % self._rows == 0:
            own = matrix.view(self._rows, -1, *matrix.shape[1:])
        if self._cut and not own.requires_grad:
            own = own.detach().requires_grad_()
        self.matrices[f"attention {len(self.matrices)}"] = own
        return own.clone().view_as(matrix)  # an operation in place must not change what was collected


def _over_last(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a softmax call is over the last dimension."""
    x: Tensor = args[0] if args else kwargs["input"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return dim is not None and dim in (-1, x.dim() - 1)

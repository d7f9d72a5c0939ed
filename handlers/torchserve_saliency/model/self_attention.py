"""The self-attention of a transformer: its patch tokens, the tokens that the head reads, and fitness for rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.model.layers import token_grid
from torchserve_saliency.model.logits import Forward
from torchserve_saliency.propagation.attention_capture import AttentionCapture
from torchserve_saliency.propagation.torch_functions import TorchFunction

_NONE = "needs self-attention, and this network computes no attention matrix"
_WINDOWS = "needs attention over the whole picture, and some attention of this network is within windows"
_PARTIAL = "needs attention between all tokens, and some attention of this network is from or to some tokens only"
_CHANNELS = "needs attention between tokens, and some attention of this network is between channels"
_FEWER = "needs the same tokens in every layer, and the number of tokens changes between layers of this network"
_NO_GRID = "needs tokens that are the patches of a grid, and the tokens of this network are not"


@dataclass(frozen=True)
class SelfAttention:
    """The attention of a network with `matrices` layers of it.

    Its tokens are `prefix` tokens (class, distillation, registers), then a `grid` (h, w) of patches. `read` are the
    indices of the tokens whose last state the logits depend on. Unless attention rollout applies,
    `unsupported_reason` is the rest of a sentence that begins with the method's name.
    """

    matrices: int = 0
    prefix: int = 0
    grid: tuple[int, int] = (0, 0)
    read: tuple[int, ...] = ()
    unsupported_reason: str | None = _NONE


def find_attention(forward: Forward, example: Tensor) -> SelfAttention:
    """Return the attention of a network, found by running it on `example` [n, C, H, W], n > 1."""
    with torch.no_grad(), _TokenCapture(len(example)) as capture:
        forward(example)
    shapes = [matrix.shape for matrix in capture.matrices.values()]
    if reason := _unsupported_reason(shapes, len(example), capture.token_counts):
        return SelfAttention(len(shapes), unsupported_reason=reason)
    found = token_grid(shapes[0][-1], (example.shape[2], example.shape[3]))
    if found is None:
        return SelfAttention(len(shapes), unsupported_reason=_NO_GRID)
    prefix, *grid = found
    read = _read_tokens(forward, example, prefix)
    return SelfAttention(len(shapes), prefix, (grid[0], grid[1]), read, unsupported_reason=None)


def _unsupported_reason(shapes: Sequence[torch.Size], rows: int, token_counts: set[int]) -> str | None:
    """Return the reason for which attention matrices of these shapes cannot be rolled out, or None."""
    if not shapes:
        return _NONE
    if any(len(shape) != 4 or shape[0] != rows for shape in shapes):
        return _WINDOWS
    if any(shape[-1] != shape[-2] for shape in shapes):
        return _PARTIAL
    if any(shape[-1] not in token_counts for shape in shapes):
        return _CHANNELS
    return _FEWER if len({shape[-1] for shape in shapes}) > 1 else None


def _read_tokens(forward: Forward, example: Tensor, prefix: int) -> tuple[int, ...]:
    """Return the indices of the tokens that the logits depend on after the last attention.

    If there are none, because the head's weights are zero, return the class token, or all patches of a network without
    prefix tokens.
    """
    with torch.enable_grad(), AttentionCapture(len(example), start_graph=True) as capture:
        logits = forward(example)
        last = list(capture.matrices.values())[-1]
        weights = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype).view_as(logits)
        (gradient,) = torch.autograd.grad(logits, last, weights, allow_unused=True, materialize_grads=True)
    read: list[int] = gradient.abs().amax((0, 1, 3)).nonzero().flatten().tolist()
    return tuple(read or ([0] if prefix else range(last.shape[-1])))


# functions whose outputs may be tokens, channels last: projections, norms, and the sums of the residual stream
_CHANNELS_LAST = frozenset({F.linear, F.layer_norm, Tensor.add, Tensor.__add__, Tensor.__iadd__, torch.add, torch.cat})
_CHANNELS_FIRST = frozenset({F.conv2d, torch.conv2d})


class _TokenCapture(AttentionCapture):
    """Collects the attention matrices, and the numbers of tokens or cells in the layers' outputs for `rows` rows."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows, start_graph=False)
        self.token_counts: set[int] = set()

    def __torch_function__(
        self, func: TorchFunction, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = super().__torch_function__(func, types, args, kwargs)
        if (func in _CHANNELS_LAST or func in _CHANNELS_FIRST) and isinstance(output, Tensor):
            self.token_counts |= _token_counts(output.shape, self._rows, func in _CHANNELS_LAST)
        return output


def _token_counts(shape: torch.Size, rows: int, channels_last: bool) -> set[int]:
    """Return the possible numbers of tokens in [n, t, C] or [t, n, C], or of cells in [n, h, w, C] or [n, C, h, w]."""
    if len(shape) == 4 and shape[0] == rows:
        h, w = shape[1:3] if channels_last else shape[2:]
        return {h * w}
    return set(shape[:2]) if len(shape) == 3 and rows in shape[:2] else set()

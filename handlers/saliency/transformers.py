"""How a transformer attends: which tokens are patches, which are read, and whether its attention can be rolled out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.attending import Function
from saliency.attention import Listening
from saliency.layers import token_grid

_NONE = "needs self-attention, and this network computes no matrix of it"
_WINDOWS = "needs attention over the whole picture, and this network's is, in part, within windows"
_PARTIAL = "needs attention of all tokens to all tokens, and this network's is, in part, of some or to some"
_CHANNELS = "needs attention among tokens, and this network's is, in part, among channels"
_FEWER = "needs the same tokens in every layer, and this network's change their number on the way"
_NO_GRID = "needs tokens that are patches of a grid, and this network's are not"


@dataclass(frozen=True)
class SelfAttention:
    """`matrices` of attention among `prefix` tokens (class, distillation, registers) and those of a `grid` of patches.

    `read` are the tokens whose last state the logits depend on. Where that is not so, `lack` says what a method that
    rolls attention out misses.
    """

    matrices: int = 0
    prefix: int = 0
    grid: tuple[int, int] = (0, 0)
    read: tuple[int, ...] = ()
    lack: str | None = _NONE


def find_attention(forward: Callable[[Tensor], Tensor], example: Tensor) -> SelfAttention:
    """Return how a network attends to `example` [n, C, H, W], n > 1, found by running it."""
    with torch.no_grad(), _Watching(len(example)) as watching:
        forward(example)
    shapes = [matrix.shape for matrix in watching.matrices.values()]
    if lack := _lack(shapes, len(example), watching.tokens):
        return SelfAttention(len(shapes), lack=lack)
    found = token_grid(shapes[0][-1], (example.shape[2], example.shape[3]))
    if found is None:
        return SelfAttention(len(shapes), lack=_NO_GRID)
    prefix, *grid = found
    return SelfAttention(len(shapes), prefix, (grid[0], grid[1]), _read(forward, example, prefix), lack=None)


def _lack(shapes: Sequence[torch.Size], rows: int, tokens: set[int]) -> str | None:
    """Return why matrices of these shapes cannot be rolled out; None where they can."""
    if not shapes:
        return _NONE
    if any(len(shape) != 4 or shape[0] != rows for shape in shapes):
        return _WINDOWS
    if any(shape[-1] != shape[-2] for shape in shapes):
        return _PARTIAL
    if any(shape[-1] not in tokens for shape in shapes):
        return _CHANNELS
    return _FEWER if len({shape[-1] for shape in shapes}) > 1 else None


def _read(forward: Callable[[Tensor], Tensor], example: Tensor, prefix: int) -> tuple[int, ...]:
    """Return the tokens that the logits depend on after the last attention.

    A head that starts at zero hides them: then the class token, or all patches of a network that has none.
    """
    with torch.enable_grad(), Listening(len(example), cut=True) as listening:
        logits = forward(example)
        last = list(listening.matrices.values())[-1]
        weights = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype).view_as(logits)
        (slope,) = torch.autograd.grad(logits, last, weights, allow_unused=True, materialize_grads=True)
    heard: list[int] = slope.abs().amax((0, 1, 3)).nonzero().flatten().tolist()
    return tuple(heard or ([0] if prefix else range(last.shape[-1])))


# what puts out tokens: the projections, the norms, and the sums of the residual stream
_LAST = frozenset({F.linear, F.layer_norm, Tensor.add, Tensor.__add__, Tensor.__iadd__, torch.add, torch.cat})
_FIRST = frozenset({F.conv2d, torch.conv2d})


class _Watching(Listening):
    """Collects, beside the matrices, how many tokens or cells the layers put out for each of `rows` rows."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows, cut=False)
        self.tokens: set[int] = set()

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = super().__torch_function__(func, types, args, kwargs)
        if (func in _LAST or func in _FIRST) and isinstance(output, Tensor):
            self.tokens |= _counts(output.shape, self._rows, channels_last=func in _LAST)
        return output


def _counts(shape: torch.Size, rows: int, channels_last: bool) -> set[int]:
    """Return how many tokens [n, t, C], [t, n, C] or cells [n, h, w, C], [n, C, h, w] an output of n rows has."""
    if len(shape) == 4 and shape[0] == rows:
        h, w = shape[1:3] if channels_last else shape[2:]
        return {h * w}
    return set(shape[:2]) if len(shape) == 3 and rows in shape[:2] else set()

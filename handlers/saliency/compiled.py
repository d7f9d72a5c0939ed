"""A network that `torch.compile` has compiled for some batch sizes, beside the eager one that does everything else.

No request waits for a compilation, and none hears of a failure: what was not compiled, or fails, runs eager.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.errors import out_of_memory, said
from saliency.passes import Forward

logger = logging.getLogger(__name__)
KINDS = ("prediction", "gradient")
UNCOMPILED = "the network is served uncompiled: %s"


class Compiled:
    """A forward pass compiled for batches of the `sizes` of each kind; the eager one does what it does not take.

    Until it is `warm` it compiles what is asked of it, and its failures are raised. From then on its first failure,
    memory apart, is its last: one warning, and everything runs eager.
    """

    def __init__(self, eager: Forward, options: Mapping[str, object], example: Tensor) -> None:
        self.eager = eager
        self.sizes: dict[str, tuple[int, ...]] = dict.fromkeys(KINDS, ())
        self.warm = False
        self._like = _likeness(example)
        self._layout = torch.contiguous_format if example.is_contiguous() else torch.channels_last
        self._function: Forward = torch.compile(eager, **{"dynamic": False, **options})  # type: ignore[call-overload]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits [n, K] of `x` [n, C, H, W], differentiable where `x` is to be."""
        kind = KINDS[x.requires_grad and torch.is_grad_enabled()]
        if _likeness(x) != self._like or batch_sizes(len(x))[-1] not in self.sizes[kind]:
            return self.eager(x)
        if kind == "gradient":
            traced: Tensor = _Traced.apply(x, self)
            return traced
        with torch.inference_mode():
            logits = self.logits(self.padded(x))
        return logits[: len(x)].clone()  # a CUDA graph writes its next answer over this one

    def padded(self, x: Tensor) -> Tensor:
        """Return a copy of `x` as it was compiled for: laid out so, its last row repeated up to the next size."""
        rows = torch.empty(
            (batch_sizes(len(x))[-1], *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=self._layout
        )
        rows[: len(x)] = x.detach()
        rows[len(x) :] = x.detach()[-1:]
        return rows

    def logits(self, rows: Tensor) -> Tensor:
        """Return the logits of padded rows."""
        try:
            with _no_compilation() if self.warm else nullcontext():
                return self._function(rows)
        except Exception as error:
            self.leave(error)
            return self.eager(rows)

    def gradient(self, logits: Tensor, rows: Tensor, cotangent: Tensor) -> Tensor:
        """Return the gradient of padded rows; the graph from them to their logits stays."""
        try:
            return differentiated(logits, rows, cotangent)
        except Exception as error:
            self.leave(error)
            with torch.enable_grad():
                return differentiated(self.eager(rows), rows, cotangent)

    def leave(self, error: Exception) -> None:
        """Have everything run eager from now on; where memory ran out this once, as then the batch will be split."""
        if not self.warm:
            raise error
        if out_of_memory(error):
            return
        if any(self.sizes.values()):
            logger.warning(UNCOMPILED, said(error))
        self.sizes = dict.fromkeys(KINDS, ())


class _Traced(torch.autograd.Function):
    """A compiled pass as one step of a graph: padded rows get a cotangent of zero and are cut off."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compiled: Compiled) -> Tensor:
        ctx.compiled = compiled
        ctx.rows = compiled.padded(x).requires_grad_()
        with torch.enable_grad():
            ctx.logits = compiled.logits(ctx.rows)
        logits: Tensor = ctx.logits.detach()[: len(x)].clone()
        return logits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (cotangent,) = grads
        padding = len(ctx.rows) - len(cotangent)
        gradient = ctx.compiled.gradient(ctx.logits, ctx.rows, F.pad(cotangent, (0, 0, 0, padding)))
        return gradient[: len(cotangent)].clone(), None


def batch_sizes(largest: int) -> tuple[int, ...]:
    """Return the powers of two up to the first that is not below `largest`."""
    return tuple(1 << power for power in range((largest - 1).bit_length() + 1))


def differentiated(logits: Tensor, x: Tensor, cotangent: Tensor) -> Tensor:
    """Return the gradient with respect to `x`; the graph stays for the next target."""
    (gradient,) = torch.autograd.grad(logits, x, cotangent, retain_graph=True)
    return gradient


def _likeness(x: Tensor) -> tuple[object, ...]:
    """Return all that tells one batch from another, but for its number of rows."""
    return x.shape[1:], x.dtype, x.device


def _no_compilation() -> AbstractContextManager[object]:
    """Return a context in which a batch that would have to be compiled is an error."""
    if not hasattr(torch.compiler, "set_stance"):  # from torch 2.6
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("fail_on_recompile")
    return stance

"""A network compiled by `torch.compile` for some batch sizes; all other batches run in eager mode.

No request waits for compilation, and no request fails because of it: after a failure, the batch runs in eager mode.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.errors import error_summary, out_of_memory
from torchserve_saliency.model.logits import Forward

logger = logging.getLogger(__name__)
PASSES = ("prediction", "gradient")
UNCOMPILED = "the network is served without compilation: %s"


class Compiled:
    """A forward function, compiled for the batch sizes in `sizes` for each of PASSES; other batches run in eager mode.

    Before it is `warm`, a call may compile, and failures are raised. Afterwards the first failure, except out of
    memory, logs a warning and switches to eager mode for good.
    """

    def __init__(self, eager: Forward, options: Mapping[str, object], example: Tensor) -> None:
        self.eager = eager
        self.sizes: dict[str, tuple[int, ...]] = dict.fromkeys(PASSES, ())
        self.warm = False
        self._batch_type = _batch_type(example)
        self._memory_format = torch.contiguous_format if example.is_contiguous() else torch.channels_last
        self._function: Forward = torch.compile(eager, **{"dynamic": False, **options})  # type: ignore[call-overload]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits [n, K] of `x` [n, C, H, W], with a graph if `x` requires a gradient."""
        requested = PASSES[x.requires_grad and torch.is_grad_enabled()]
        if _batch_type(x) != self._batch_type or batch_sizes(len(x))[-1] not in self.sizes[requested]:
            return self.eager(x)
        if requested == "gradient":
            differentiable: Tensor = _PaddedPass.apply(x, self)
            return differentiable
        with torch.inference_mode():
            logits = self.logits(self.padded(x))
        return logits[: len(x)].clone()  # a CUDA graph overwrites its output at the next call

    def padded(self, x: Tensor) -> Tensor:
        """Return a copy of `x` in the compiled memory format, its last row repeated up to the next compiled size."""
        rows = torch.empty(
            (batch_sizes(len(x))[-1], *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=self._memory_format
        )
        rows[: len(x)] = x.detach()
        rows[len(x) :] = x.detach()[-1:]
        return rows

    def logits(self, rows: Tensor) -> Tensor:
        """Return the logits of padded rows; after a failure, run in eager mode."""
        try:
            with _no_compilation() if self.warm else nullcontext():
                return self._function(rows)
        except Exception as error:
            self._fall_back(error)
            return self.eager(rows)

    def gradient(self, logits: Tensor, rows: Tensor, cotangent: Tensor) -> Tensor:
        """Return the gradient of padded rows, and retain the graph; after a failure, run in eager mode."""
        try:
            return input_gradient(logits, rows, cotangent)
        except Exception as error:
            self._fall_back(error)
            with torch.enable_grad():
                return input_gradient(self.eager(rows), rows, cotangent)

    def _fall_back(self, error: Exception) -> None:
        """Run all later batches in eager mode; after out of memory only this one, which the engine will split."""
        if not self.warm:
            raise error
        if out_of_memory(error):
            return
        if any(self.sizes.values()):
            logger.warning(UNCOMPILED, error_summary(error))
        self.sizes = dict.fromkeys(PASSES, ())


class _PaddedPass(torch.autograd.Function):
    """A compiled pass as one node of the graph; the rows that pad the batch are removed and have gradients of zero."""

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
    """Return the powers of two, up to the first that is not below `largest`."""
    return tuple(1 << power for power in range((largest - 1).bit_length() + 1))


def input_gradient(logits: Tensor, x: Tensor, cotangent: Tensor) -> Tensor:
    """Return the gradient with respect to `x`; the graph is retained for the next target."""
    (gradient,) = torch.autograd.grad(logits, x, cotangent, retain_graph=True)
    return gradient


def _batch_type(x: Tensor) -> tuple[object, ...]:
    """Return the properties that batches of one compiled network have in common: row shape, dtype and device."""
    return x.shape[1:], x.dtype, x.device


def _no_compilation() -> AbstractContextManager[object]:
    """Return a context in which a batch that needs compilation raises an error."""
    if not hasattr(torch.compiler, "set_stance"):  # from torch 2.6
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("fail_on_recompile")
    return stance

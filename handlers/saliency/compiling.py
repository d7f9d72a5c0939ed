"""The network by `torch.compile`: compiled at load for fixed batch sizes, held against the eager one, left if it fails.

No request waits for a compilation, and none hears of a failure: what was not compiled, or fails, runs eager.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliency.errors import out_of_memory, said
from saliency.passes import Forward, predicted, relative
from saliency.precision import Precision

logger = logging.getLogger(__name__)
_LOGITS, _GRADIENT = 1e-4, 1e-3
_UNCOMPILED = "the network is served uncompiled: %s"
_REPEATS = 3  # CUDA graphs are run, then recorded, then replayed
_VARIANTS = 256  # of one function, which all classifiers of a process share: sizes, with and without autograd


class CompileError(Exception):
    """What a compiled network gives is not what the eager one does."""


def compile_network(
    eager: Forward, options: Mapping[str, object], example: Tensor, precision: Precision
) -> Compiled | None:
    """Return `eager` compiled with the options of `torch.compile`; None, and one warning, where that does not work.

    Batches come in the memory format of `example` [n, C, H, W], and of up to as many rows.
    """
    try:
        network = Compiled(eager, options, example)
        network.warm_up(example, precision)
    except Exception as error:
        logger.warning(_UNCOMPILED, said(error))
        return None
    return network


class Compiled:
    """A forward pass compiled for batches of `sizes`; what it does not take or fails at, the eager one does.

    Its first failure, memory apart, is its last: one warning, and from then on everything runs eager.
    """

    def __init__(self, eager: Forward, options: Mapping[str, object], example: Tensor) -> None:
        self.eager = eager
        self.sizes: tuple[int, ...] = ()
        self._kind = _kind(example)
        self._layout = torch.contiguous_format if example.is_contiguous() else torch.channels_last
        self._warm = False
        self._function: Forward = torch.compile(eager, **{"dynamic": False, **options})  # type: ignore[call-overload]

    def warm_up(self, example: Tensor, precision: Precision) -> None:
        """Compile for powers of two rows, up to the first that holds all of `example`, each tried as it will be run."""
        with _compilation():
            for size in batch_sizes(len(example)):
                self.sizes = (*self.sizes, size)
                self._check(example[:size], precision)
        self._warm = True

    def _check(self, x: Tensor, precision: Precision) -> None:
        """Run a batch a few times; CompileError where it is not the eager one's answer."""
        with torch.no_grad():
            cotangent = predicted(self.eager(x)) * precision.loss_scale
        eager = _as_served(self.eager, x, cotangent)
        logits, gradient = _LOGITS + 2 * precision.logits_error, _GRADIENT + 2 * precision.gradient_error
        tolerances = {"prediction": logits, "logits": logits, "gradient": gradient, "second gradient": gradient}
        for _ in range(_REPEATS):
            for name, ours in _as_served(self, x, cotangent).items():
                if not (apart := relative(ours, eager[name])) <= tolerances[name]:
                    raise CompileError(f"compiled for {len(x)} rows, the {name} is off by {apart:.1e} in relative norm")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits [n, K] of `x` [n, C, H, W], differentiable where `x` is to be."""
        if not self.takes(x):
            return self.eager(x)
        if x.requires_grad and torch.is_grad_enabled():
            traced: Tensor = _Traced.apply(x, self)
            return traced
        with torch.inference_mode():
            logits = self.logits(self.padded(x))
        return logits[: len(x)].clone()  # a CUDA graph writes its next answer over this one

    def takes(self, x: Tensor) -> bool:
        """Tell whether a batch is of a kind and size that was compiled."""
        return _kind(x) == self._kind and len(x) <= max(self.sizes, default=0)

    def padded(self, x: Tensor) -> Tensor:
        """Return a copy of `x` as it was compiled for: laid out so, its last row repeated up to the next size."""
        size = next(size for size in self.sizes if size >= len(x))
        rows = torch.empty((size, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=self._layout)
        rows[: len(x)] = x.detach()
        rows[len(x) :] = x.detach()[-1:]
        return rows

    def logits(self, rows: Tensor) -> Tensor:
        """Return the logits of padded rows."""
        try:
            with _no_compilation() if self._warm else nullcontext():
                return self._function(rows)
        except Exception as error:
            self.leave(error)
            return self.eager(rows)

    def gradient(self, logits: Tensor, rows: Tensor, cotangent: Tensor) -> Tensor:
        """Return the gradient of padded rows; the graph from them to their logits stays."""
        try:
            return _gradient(logits, rows, cotangent)
        except Exception as error:
            self.leave(error)
            with torch.enable_grad():
                return _gradient(self.eager(rows), rows, cotangent)

    def leave(self, error: Exception) -> None:
        """Have everything run eager from now on; where memory ran out this once, as then the batch will be split."""
        if not self._warm:
            raise error
        if out_of_memory(error):
            return
        if self.sizes:
            logger.warning(_UNCOMPILED, said(error))
        self.sizes = ()


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


def _as_served(forward: Forward, x: Tensor, cotangent: Tensor) -> dict[str, Tensor]:
    """Return what the engine asks of a forward pass: logits alone, logits with a graph, gradients of two targets."""
    with torch.inference_mode():
        prediction = forward(x)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        logits = forward(leaf)
    gradient = _gradient(logits, leaf, cotangent)
    second = _gradient(logits, leaf, cotangent.flip(0))
    return {"prediction": prediction, "logits": logits.detach(), "gradient": gradient, "second gradient": second}


def _gradient(logits: Tensor, x: Tensor, cotangent: Tensor) -> Tensor:
    """Return the gradient with respect to `x`; the graph stays for the next target."""
    (gradient,) = torch.autograd.grad(logits, x, cotangent, retain_graph=True)
    return gradient


def _kind(x: Tensor) -> tuple[object, ...]:
    """Return all that tells one batch from another, but for its number of rows."""
    return x.shape[1:], x.dtype, x.device


@contextmanager
def _compilation() -> Iterator[None]:
    """Compile inside for many sizes, and so that one graph serves several backward passes."""
    import torch._dynamo.config as dynamo
    import torch._functorch.config as functorch

    with ExitStack() as stack:
        stack.enter_context(dynamo.patch(cache_size_limit=_VARIANTS))
        if hasattr(functorch, "donated_buffer"):  # from torch 2.6: memory that the first backward pass would reuse
            stack.enter_context(functorch.patch(donated_buffer=False))
        yield


def _no_compilation() -> AbstractContextManager[object]:
    """Return a context in which a batch that would have to be compiled is an error."""
    if not hasattr(torch.compiler, "set_stance"):  # from torch 2.6
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("fail_on_recompile")
    return stance

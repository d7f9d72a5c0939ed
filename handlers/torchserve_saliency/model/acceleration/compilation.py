"""Compilation of a network at load, for the batch sizes at which it is as accurate and as fast as in eager mode."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.errors import error_summary
from torchserve_saliency.model.acceleration.compiled_network import (
    PASSES,
    UNCOMPILED,
    Compiled,
    batch_sizes,
    input_gradient,
)
from torchserve_saliency.model.acceleration.precision import Precision
from torchserve_saliency.model.acceleration.trial_pass import one_hot_prediction, relative_error
from torchserve_saliency.model.logits import Forward

logger = logging.getLogger(__name__)
_LOGITS_TOLERANCE, _GRADIENT_TOLERANCE = 1e-4, 1e-3
_MAX_SLOWDOWN = 1.1  # a size is kept up to this ratio to the time of eager mode; smaller differences are noise
_WARM_UP_RUNS = 2  # not timed: the first compiles, and CUDA graphs are recorded in the second
_RUNS = _WARM_UP_RUNS + 3
_VARIANTS = 256  # compiled per function, over all classifiers of a process: sizes, with and without autograd


class CompileError(Exception):
    """A compiled network that is inaccurate, or slower than the eager one."""


def compile_network(
    eager: Forward, options: Mapping[str, object], example: Tensor, precision: Precision
) -> Compiled | None:
    """Return `eager` compiled with the options of `torch.compile`; on failure, log a warning and return None.

    It is compiled for batch sizes that are powers of two, up to the first that is not below that of `example`
    [n, C, H, W]; batches have the memory format of `example`. Sizes that are slower than in eager mode are dropped.
    """
    try:
        network = Compiled(eager, options, example)
        _compile_sizes(network, example, precision)
    except Exception as error:
        logger.warning(UNCOMPILED, error_summary(error))
        return None
    return network


def _compile_sizes(network: Compiled, example: Tensor, precision: Precision) -> None:
    """Compile for all sizes, and keep the fast ones. Raise CompileError if a result is wrong or no size is fast."""
    sizes = batch_sizes(len(example))
    network.sizes = dict.fromkeys(PASSES, sizes)
    with _compiler_settings():
        ratios = {
            (name, size): _time_ratio(network, name, example[:size], precision) for name, size in product(PASSES, sizes)
        }
    fast = {name: tuple(size for size in sizes if ratios[name, size] <= _MAX_SLOWDOWN) for name in PASSES}
    slowest = max(ratios.values())
    if not any(fast.values()):
        raise CompileError(f"it takes up to {slowest:.1f} times as long as in eager mode")
    if fast != network.sizes:
        logger.warning("compiled, batches take up to %.1f times as long; compiled sizes are %s", slowest, fast)
    network.sizes, network.warm = fast, True


def _time_ratio(network: Compiled, pass_name: str, x: Tensor, precision: Precision) -> float:
    """Return the time of a compiled pass relative to eager mode. Raise CompileError if its result is wrong.

    The ratio is the median over pairs of passes in immediate succession, which other work on the machine slows alike.
    """
    with torch.no_grad():
        cotangent = one_hot_prediction(network.eager(x)) * precision.loss_scale
    tolerances = _LOGITS_TOLERANCE + 2 * precision.logits_error, _GRADIENT_TOLERANCE + 2 * precision.gradient_error
    eager, compiled = [], []
    for _ in range(_RUNS):
        eager.append(_timed(_RUN_BY_PASS[pass_name], network.eager, x, cotangent))
        compiled.append(_timed(_RUN_BY_PASS[pass_name], network, x, cotangent))
        for values, reference, tolerance in zip(compiled[-1].values, eager[-1].values, tolerances, strict=False):
            if not (error := relative_error(values, reference)) <= tolerance:
                raise CompileError(f"compiled for {len(x)} rows, the {pass_name} has a relative error of {error:.1e}")
    pairs = list(zip(compiled, eager, strict=True))[_WARM_UP_RUNS:]
    return statistics.median(ours.seconds / reference.seconds for ours, reference in pairs)


def _run_prediction(forward: Forward, x: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
    """Return the logits, without autograd."""
    with torch.inference_mode():
        return (forward(x),)


def _run_gradient(forward: Forward, x: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
    """Return the logits, and the gradients [2, n, C, H, W] of two targets: two backward passes over one graph."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        logits = forward(leaf)
    gradients = [input_gradient(logits, leaf, each) for each in (cotangent, cotangent.flip(0))]
    return logits.detach(), torch.stack(gradients)


_RUN_BY_PASS: Mapping[str, Callable[[Forward, Tensor, Tensor], tuple[Tensor, ...]]] = MappingProxyType(
    dict(zip(PASSES, (_run_prediction, _run_gradient), strict=True))
)


@dataclass(frozen=True)
class _Timed:
    """The values that a run returned, and its duration in seconds."""

    values: tuple[Tensor, ...]
    seconds: float


def _timed(run: Callable[..., tuple[Tensor, ...]], *args: object) -> _Timed:
    start = time.perf_counter()
    values = run(*args)
    float(values[-1].flatten()[0])  # waits for the device
    return _Timed(values, time.perf_counter() - start)


@contextmanager
def _compiler_settings() -> Iterator[None]:
    """Allow compilation for many sizes, and several backward passes over one graph, inside the context."""
    import torch._dynamo.config as dynamo
    import torch._functorch.config as functorch

    with ExitStack() as stack:
        stack.enter_context(dynamo.patch(cache_size_limit=_VARIANTS))
        if hasattr(functorch, "donated_buffer"):  # from torch 2.6: the first backward pass may reuse saved memory
            stack.enter_context(functorch.patch(donated_buffer=False))
        yield

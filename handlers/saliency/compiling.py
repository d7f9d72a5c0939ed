"""A network compiled at load, each batch size tried as it will be run: whether it is as right and as fast as eager."""

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

from saliency.compiled import KINDS, UNCOMPILED, Compiled, batch_sizes, differentiated
from saliency.errors import said
from saliency.passes import Forward, predicted, relative
from saliency.precision import Precision

logger = logging.getLogger(__name__)
_LOGITS, _GRADIENT = 1e-4, 1e-3
_SLOWER = 1.1  # times as long as eager, and it is not worth while; less is noise
_FIRST = 2  # passes that are not timed: the first compiles, and CUDA graphs are recorded in the second
_ROUNDS = _FIRST + 3
_VARIANTS = 256  # of one function, which all classifiers of a process share: sizes, with and without autograd


class CompileError(Exception):
    """Why a compiled network is no good: it is wrong, or slower than the eager one."""


def compile_network(
    eager: Forward, options: Mapping[str, object], example: Tensor, precision: Precision
) -> Compiled | None:
    """Return `eager` compiled with the options of `torch.compile`; None, and one warning, where that does not work.

    It is compiled for powers of two rows, up to the first that holds all of `example` [n, C, H, W], whose memory format
    batches come in. Sizes at which it is slower than eager are left to that.
    """
    try:
        network = Compiled(eager, options, example)
        _warm_up(network, example, precision)
    except Exception as error:
        logger.warning(UNCOMPILED, said(error))
        return None
    return network


def _warm_up(network: Compiled, example: Tensor, precision: Precision) -> None:
    """Compile for every size; CompileError where an answer is wrong, or none comes as fast as the eager one's."""
    sizes = batch_sizes(len(example))
    network.sizes = dict.fromkeys(KINDS, sizes)
    with _compilation():
        ratios = {
            (kind, size): _ratio(network, kind, example[:size], precision) for kind, size in product(KINDS, sizes)
        }
    fast = {kind: tuple(size for size in sizes if ratios[kind, size] <= _SLOWER) for kind in KINDS}
    if not any(fast.values()):
        raise CompileError(f"it takes up to {max(ratios.values()):.1f} times as long when it is compiled")
    if fast != network.sizes:
        slowest = max(ratios.values())
        logger.warning("compiled, batches take up to %.1f times as long; those worth while are %s", slowest, fast)
    network.sizes, network.warm = fast, True


def _ratio(network: Compiled, kind: str, x: Tensor, precision: Precision) -> float:
    """Return how many times as long a batch takes as by the eager network; CompileError where the answer is wrong.

    It is the median of neighbouring passes: what else runs takes the cores from both of a pair.
    """
    with torch.no_grad():
        cotangent = predicted(network.eager(x)) * precision.loss_scale
    tolerances = _LOGITS + 2 * precision.logits_error, _GRADIENT + 2 * precision.gradient_error
    usual, ours = [], []
    for _ in range(_ROUNDS):
        usual.append(_timed(_RUNS[kind], network.eager, x, cotangent))
        ours.append(_timed(_RUNS[kind], network, x, cotangent))
        for mine, exact, tolerance in zip(ours[-1].values, usual[-1].values, tolerances, strict=False):
            if not (apart := relative(mine, exact)) <= tolerance:
                raise CompileError(f"compiled for {len(x)} rows, the {kind} is off by {apart:.1e} in relative norm")
    pairs = list(zip(ours, usual, strict=True))[_FIRST:]
    return statistics.median(mine.seconds / exact.seconds for mine, exact in pairs)


def _predictions(forward: Forward, x: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
    """Return the logits, without autograd."""
    with torch.inference_mode():
        return (forward(x),)


def _explanations(forward: Forward, x: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
    """Return the logits, and the gradients [2, n, C, H, W] of two targets: two backward passes over one graph."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        logits = forward(leaf)
    return logits.detach(), torch.stack([differentiated(logits, leaf, each) for each in (cotangent, cotangent.flip(0))])


# what the engine asks of a forward pass
_RUNS: Mapping[str, Callable[[Forward, Tensor, Tensor], tuple[Tensor, ...]]] = MappingProxyType(
    dict(zip(KINDS, (_predictions, _explanations), strict=True))
)


@dataclass(frozen=True)
class _Timed:
    """What came of a run, and its seconds."""

    values: tuple[Tensor, ...]
    seconds: float


def _timed(run: Callable[..., tuple[Tensor, ...]], *args: object) -> _Timed:
    start = time.perf_counter()
    values = run(*args)
    float(values[-1].flatten()[0])  # waits for the device
    return _Timed(values, time.perf_counter() - start)


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

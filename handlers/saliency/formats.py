"""The order in which a network's tensors lie in memory: channels last where that works and is faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saliency.passes import Forward, logits_and_gradient, relative

logger = logging.getLogger(__name__)
_LOGITS, _GRADIENT = 1e-4, 0.1  # float32 at a kink or at a tie in a pooling window may fall the other way
_ROUNDS = 5
_LONG = 1.0  # seconds beside which the beginnings of a first pass do not matter
_WORSE = 1.1  # times as long, and channels last is left; less is luck


@dataclass(frozen=True)
class _Trial:
    """What came of one pass: logits, input gradient, and seconds."""

    logits: Tensor
    gradient: Tensor
    seconds: float


def choose_memory_format(network: nn.Module, forward: Forward, example: Tensor) -> torch.memory_format:
    """Return the memory format that `network` is left in: channels last where it is as right and as fast.

    `forward` runs `network` and returns logits; `example` [n, C, H, W] is what it is tried on, more than
    one picture: a view may fail only then.
    """
    if not any(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in network.modules()):
        return torch.contiguous_format
    usual = _trial(network, forward, example, torch.contiguous_format)
    try:
        other = _trial(network, forward, example, torch.channels_last)
        apart = relative(other.logits, usual.logits), relative(other.gradient, usual.gradient)
        if not (apart[0] <= _LOGITS and apart[1] <= _GRADIENT):  # NaN is no agreement
            logger.info("memory format channels last gives other results: contiguous is used")
        elif any(ratio < _WORSE for ratio in _ratios(network, forward, example, (other.seconds, usual.seconds))):
            network.to(memory_format=torch.channels_last)
            return torch.channels_last
    except RuntimeError as error:
        logger.info("memory format channels last does not work, contiguous is used: %s", error)
    network.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format


def _ratios(network: nn.Module, forward: Forward, example: Tensor, first: tuple[float, float]) -> Iterator[float]:
    """Yield how many times as long a pass takes in channels last as its neighbour in the usual format.

    Models that load at the same time take the cores by turns: the usual format is faster where all pairs say so.
    `first` are the seconds that the first pair took: where they are long, what happens once is little of them.
    """
    if first[1] >= _LONG:
        yield first[0] / first[1]
    for _ in range(_ROUNDS):
        last = _trial(network, forward, example, torch.channels_last)
        yield last.seconds / _trial(network, forward, example, torch.contiguous_format).seconds


def _trial(network: nn.Module, forward: Forward, example: Tensor, layout: torch.memory_format) -> _Trial:
    """Return what a pass forward and backward in a memory format gives, and how long it took."""
    network.to(memory_format=layout)
    x = example.to(memory_format=layout)
    start = time.perf_counter()
    logits, gradient = logits_and_gradient(forward, x)
    float(gradient.flatten()[0])  # waits for the device
    return _Trial(logits, gradient, time.perf_counter() - start)

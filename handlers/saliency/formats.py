"""The order in which a network's tensors lie in memory: channels last where that works and is faster."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saliency.passes import Forward, logits_and_gradient

logger = logging.getLogger(__name__)
_LOGITS, _GRADIENT = 1e-4, 0.1  # float32 at a kink or at a tie in a pooling window may fall the other way
_REPEATS = 4


@dataclass(frozen=True)
class _Trial:
    """What came of a few passes: logits, input gradient, and the seconds of the fastest."""

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
    usual = _trial(forward, example)
    network.to(memory_format=torch.channels_last)
    try:
        other = _trial(forward, example.to(memory_format=torch.channels_last))
        if _near(other.logits, usual.logits, _LOGITS) and _near(other.gradient, usual.gradient, _GRADIENT):
            if other.seconds < 1.1 * usual.seconds:  # better by a hair is luck
                return torch.channels_last
        else:
            logger.info("memory format channels last gives other results: contiguous is used")
    except RuntimeError as error:
        logger.info("memory format channels last does not work, contiguous is used: %s", error)
    network.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format


def _trial(forward: Forward, example: Tensor) -> _Trial:
    """Return what a few passes forward and backward give, and how long the fastest took."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        logits, gradient = logits_and_gradient(forward, example)
        float(gradient.flatten()[0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return _Trial(logits, gradient, min(seconds))


def _near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool((a - b).norm() <= tolerance * b.norm())

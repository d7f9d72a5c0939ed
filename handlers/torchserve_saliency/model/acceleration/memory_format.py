"""The memory format of a network: channels last if it works and is as fast as contiguous."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_saliency.model.acceleration.trial_pass import logits_and_gradient, relative_error
from torchserve_saliency.model.logits import Forward

logger = logging.getLogger(__name__)
_LOGITS_TOLERANCE, _GRADIENT_TOLERANCE = 1e-4, 0.1  # rounding may decide a ReLU near 0 or a tie in a pooling window
_PAIRS = 5  # of passes, one in each format
_LONG_PASS = 1.0  # seconds; the overhead of a first pass is negligible in a pass that takes so long
_MIN_SLOWDOWN = 1.1  # ratio of times from which channels last counts as slower; smaller differences are noise


@dataclass(frozen=True)
class _Trial:
    """The logits, input gradient and duration in seconds of one pass."""

    logits: Tensor
    gradient: Tensor
    seconds: float


def choose_memory_format(network: nn.Module, forward: Forward, example: Tensor) -> torch.memory_format:
    """Convert `network` to channels last if that gives the same results and is as fast, and return its memory format.

    `forward` runs `network` and returns logits. It is tried on `example` [n, C, H, W] with n > 1, because a view in the
    network may fail only with several pictures.
    """
    if not any(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in network.modules()):
        return torch.contiguous_format
    contiguous = _trial(network, forward, example, torch.contiguous_format)
    try:
        channels_last = _trial(network, forward, example, torch.channels_last)
        errors = (
            relative_error(channels_last.logits, contiguous.logits),
            relative_error(channels_last.gradient, contiguous.gradient),
        )
        first = channels_last.seconds, contiguous.seconds
        if not (errors[0] <= _LOGITS_TOLERANCE and errors[1] <= _GRADIENT_TOLERANCE):  # NaN fails, too
            logger.info("memory format channels last gives different results, contiguous is used")
        elif any(ratio < _MIN_SLOWDOWN for ratio in _time_ratios(network, forward, example, first)):
            network.to(memory_format=torch.channels_last)
            return torch.channels_last
    except RuntimeError as error:
        logger.info("memory format channels last does not work, contiguous is used: %s", error)
    network.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format


def _time_ratios(network: nn.Module, forward: Forward, example: Tensor, first: tuple[float, float]) -> Iterator[float]:
    """Yield the time of a pass in channels last relative to an adjacent pass in contiguous format, for several pairs.

    Other models that load at the same time disturb single measurements, so channels last is rejected only if it is
    slower in all pairs. `first` are the seconds of the first pair, whose overhead is negligible in long passes only.
    """
    if first[1] >= _LONG_PASS:
        yield first[0] / first[1]
    for _ in range(_PAIRS):
        channels_last = _trial(network, forward, example, torch.channels_last)
        yield channels_last.seconds / _trial(network, forward, example, torch.contiguous_format).seconds


def _trial(network: nn.Module, forward: Forward, example: Tensor, memory_format: torch.memory_format) -> _Trial:
    """Run a forward and backward pass in a memory format."""
    network.to(memory_format=memory_format)
    x = example.to(memory_format=memory_format)
    start = time.perf_counter()
    logits, gradient = logits_and_gradient(forward, x)
    float(gradient.flatten()[0])  # waits for the device
    return _Trial(logits, gradient, time.perf_counter() - start)

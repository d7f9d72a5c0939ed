"""How long the network takes for a row."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from saliency.passes import Forward, logits_and_gradient

TRIES = 2  # the first pass of a process is slower than any other
PATIENCE = 10.0  # seconds before it is measured again


class Pace:
    """The fewest seconds that the network was seen to take for a row: forward, and backward for each target.

    What was measured beside a busy neighbour is too long: it is measured again where a request would be refused for it.
    """

    def __init__(self, forward: Forward, row: Tensor) -> None:
        self._forward = forward
        self._row = row
        self.forward = self.backward = float("inf")
        self._measure()

    def seconds(self, forwards: int, backwards: int, allowed: float) -> float:
        """Return how long so many rows take; where that is more than is allowed, it is measured once more."""
        said = self._seconds(forwards, backwards)
        if said > allowed and time.monotonic() - self._measured > PATIENCE:
            self._measure()
            said = self._seconds(forwards, backwards)
        return said

    def _seconds(self, forwards: int, backwards: int) -> float:
        return forwards * self.forward + backwards * self.backward

    def _measure(self) -> None:
        """Keep the shortest passes seen so far."""
        with torch.inference_mode():
            forward = _seconds(self._forward, self._row)
        both = _seconds(lambda x: logits_and_gradient(self._forward, x)[1], self._row)
        self.forward, self.backward = min(forward, self.forward), min(max(both - forward, 0.0), self.backward)
        self._measured = time.monotonic()


def _seconds(run: Callable[[Tensor], Tensor], row: Tensor) -> float:
    """Return the shortest of a few runs, its result brought to the CPU."""
    took = []
    for _ in range(TRIES):
        start = time.perf_counter()
        run(row).cpu()
        took.append(time.perf_counter() - start)
    return min(took)

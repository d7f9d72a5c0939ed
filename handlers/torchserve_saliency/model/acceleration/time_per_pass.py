"""The time that a forward and a backward pass of one picture take."""

from __future__ import annotations

import time

from torch import Tensor, inference_mode

from torchserve_saliency.model.acceleration.trial_pass import logits_and_gradient
from torchserve_saliency.model.logits import Forward

_RUNS = 2  # per measurement: the first pass of a process is slower than any other
MIN_AGE = 10.0  # seconds before a measurement is repeated


class TimePerPass:
    """The shortest measured times of one picture, in seconds: `forward` per pass, `backward` per pass and target.

    Other work on the machine can make a measurement too long, so it is repeated before a request is rejected for it.
    """

    def __init__(self, forward: Forward, row: Tensor) -> None:
        self._function = forward
        self._row = row
        self.forward = self.backward = float("inf")
        self._measure()

    def refresh(self) -> None:
        """Measure again, unless the last measurement is less than MIN_AGE seconds old."""
        if time.monotonic() - self._measured_at > MIN_AGE:
            self._measure()

    def _measure(self) -> None:
        """Time new passes, and keep the shorter times."""
        with inference_mode():
            forward = _shortest_time(self._function, self._row)
        both = _shortest_time(lambda x: logits_and_gradient(self._function, x)[1], self._row)
        self.forward, self.backward = min(forward, self.forward), min(max(both - forward, 0.0), self.backward)
        self._measured_at = time.monotonic()


def _shortest_time(run: Forward, row: Tensor) -> float:
    """Return the seconds of the shortest of several runs, including the copy of the result to the CPU."""
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run(row).cpu()
        times.append(time.perf_counter() - start)
    return min(times)

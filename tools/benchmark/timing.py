"""Time runs in rounds: each round executes every run once, in a different order."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Run = Callable[[], float | None]  # if a run returns a number, that is its time in seconds
Values = tuple[float, ...]
Seconds = Mapping[str, Values]
WARM_UP = 2


@dataclass(frozen=True)
class Quartiles:
    """The median and the lower and upper quartile of some values."""

    low: float
    median: float
    high: float


def time_runs(
    runs: Mapping[str, Run], rounds: int, device: torch.device | None = None, warm_up: int = WARM_UP
) -> Seconds:
    """Return the seconds of each run in each round. The first `warm_up` rounds are not counted."""
    # the random numbers only choose the order
    order, rng = list(runs), random.Random(0)  # nosec B311
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + warm_up):
        rng.shuffle(order)
        for name in order:
            elapsed = time_run(runs[name], device)
            if number >= warm_up:
                seconds[name].append(elapsed)
    return {name: tuple(values) for name, values in seconds.items()}


def time_run(run: Run, device: torch.device | None = None) -> float:
    """Return the seconds of one run. The device is synchronised before and after it."""
    synchronise(device)
    start = time.perf_counter()
    own = run()
    synchronise(device)
    return time.perf_counter() - start if own is None else own


def synchronise(device: torch.device | None) -> None:
    """Wait until a CUDA device has finished its work. Do nothing for other devices."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(seconds: Seconds, numerator: str, denominator: str) -> Values:
    """Return the ratio of the times of two runs in each round."""
    return tuple(a / b for a, b in zip(seconds[numerator], seconds[denominator], strict=True))


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return the quartiles of some values; if there is one value, all three are that value."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(low, median, high)

"""Runs timed in rounds: every run once a round, in an order that changes from round to round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Run = Callable[[], float | None]  # a run that returns seconds has timed itself
Values = tuple[float, ...]
Seconds = Mapping[str, Values]
WARM_UP = 2


@dataclass(frozen=True)
class Spread:
    """The median of some values and their quartiles."""

    low: float
    median: float
    high: float


def measured(
    runs: Mapping[str, Run], rounds: int, device: torch.device | None = None, warm_up: int = WARM_UP
) -> Seconds:
    """Return the seconds of each run in each round; `warm_up` rounds come before and are not counted."""
    # the order of runs is no secret
    order, shuffler = list(runs), random.Random(0)  # nosec B311
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + warm_up):
        shuffler.shuffle(order)
        for name in order:
            taken = timed(runs[name], device)
            if number >= warm_up:
                seconds[name].append(taken)
    return {name: tuple(values) for name, values in seconds.items()}


def timed(run: Run, device: torch.device | None = None) -> float:
    """Return the seconds of one run, the device idle before and after."""
    synchronise(device)
    began = time.perf_counter()
    own = run()
    synchronise(device)
    return time.perf_counter() - began if own is None else own


def synchronise(device: torch.device | None) -> None:
    """Wait until a CUDA device has done what it was told."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(seconds: Seconds, above: str, below: str) -> Values:
    """Return the ratio of two runs in each round."""
    return tuple(a / b for a, b in zip(seconds[above], seconds[below], strict=True))


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles; of a single value, that value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)

"""Metrics of a batch, under the names that TorchServe exports, and the processor time of each of its requests."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch

BATCH = "saliency_batch_seconds"
DECODE = "saliency_decode_seconds"
FORWARD = "saliency_forward_seconds"
BACKWARD = "saliency_backward_seconds"
ENCODE = "saliency_encode_seconds"
SIZE = "saliency_batch_size"
EXPLANATIONS = "saliency_explanations_total"
PREDICTIONS = "saliency_predictions_total"
REFUSED = "saliency_refused_total"
SPLITS = "saliency_memory_splits_total"


@dataclass(frozen=True)
class Metric:
    """How a metric is exported; its labels are MODEL_LABELS, then `labels`."""

    kind: Literal["counter", "histogram"]
    unit: str
    labels: tuple[str, ...] = ()


MODEL_LABELS = ("model_name", "model_version")
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        EXPLANATIONS: Metric("counter", "Count", ("method", "target")),
        PREDICTIONS: Metric("counter", "Count"),
        REFUSED: Metric("counter", "Count", ("status", "type")),
        SPLITS: Metric("counter", "Count"),
        SIZE: Metric("histogram", "Count"),
        # TorchServe always uses Prometheus' default buckets, 0.005 to 10, which suit seconds
        BATCH: Metric("histogram", "Seconds"),
        DECODE: Metric("histogram", "Seconds"),
        FORWARD: Metric("histogram", "Seconds"),
        BACKWARD: Metric("histogram", "Seconds"),
        ENCODE: Metric("histogram", "Seconds"),
    }
)
# A counter that first appears at 1 has no increase, so the counters that alerts use start at 0.
STARTING_AT_ZERO = (
    (SPLITS, ()),
    *((REFUSED, ("500", error)) for error in ("InternalServerException", "NonFiniteException")),
    *((REFUSED, (status, "DeadlineException")) for status in ("503", "504")),
    (REFUSED, ("507", "OutOfMemoryException")),
)


class BatchMetrics:
    """The sums of one batch by metric name and label values; not thread-safe."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to the sum of a metric."""
        self.sums[name, labels] += value  # type: ignore[assignment]  # seconds are floats

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes, even if it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)


class TimeBudget:
    """The seconds of processor time that a request may use, and those that it has used.

    Other work on the machine does not count. On a CPU, the time of all threads of the process is divided by their
    number; on other devices, it is the time that the process waits for the device.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = limit
        self.used = 0.0

    @property
    def is_spent(self) -> bool:
        """Tell if the request has used all its time."""
        return self.used >= self.limit


def processor_seconds(device: torch.device) -> float:
    """Return a clock that advances with the work of this process on a device, for differences only."""
    if device.type == "cpu":
        return time.process_time() / torch.get_num_threads()
    return time.perf_counter()


@contextmanager
def charged(shares: Sequence[tuple[TimeBudget, int]], device: torch.device) -> Iterator[None]:
    """Charge the processor time of the block to budgets, in proportion to their numbers of rows."""
    start = processor_seconds(device)
    try:
        yield
    finally:
        seconds, rows = processor_seconds(device) - start, sum(count for _, count in shares)
        for budget, count in shares:
            budget.used += seconds * count / rows


def zeros() -> BatchMetrics:
    """Return the metrics of a worker that has just started."""
    metrics = BatchMetrics()
    for name, labels in STARTING_AT_ZERO:
        metrics.add(name, 0, *labels)
    return metrics

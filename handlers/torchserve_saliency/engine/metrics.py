"""Metrics of a batch, under the names that TorchServe exports: counts, sizes and seconds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

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
    *((REFUSED, ("500", error)) for error in ("InternalServerException", "NonFiniteException", "DeadlineException")),
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


def zeros() -> BatchMetrics:
    """Return the metrics of a worker that has just started."""
    metrics = BatchMetrics()
    for name, labels in STARTING_AT_ZERO:
        metrics.add(name, 0, *labels)
    return metrics

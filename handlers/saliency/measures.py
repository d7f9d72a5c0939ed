"""What a batch did, under the names that TorchServe exports: counts, sizes and seconds, summed a batch."""

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
    """How a figure is exported; beside `labels` it carries those of MODEL_LABELS."""

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
        # TorchServe's buckets are Prometheus' own, 0.005 to 10, and cannot be chosen: they are meant for seconds
        BATCH: Metric("histogram", "Seconds"),
        DECODE: Metric("histogram", "Seconds"),
        FORWARD: Metric("histogram", "Seconds"),
        BACKWARD: Metric("histogram", "Seconds"),
        ENCODE: Metric("histogram", "Seconds"),
    }
)
# A counter that first appears at 1 has no increase: what alerts watch is there from the start, at 0.
WATCHED = (
    (SPLITS, ()),
    *((REFUSED, ("500", kind)) for kind in ("InternalServerException", "NonFiniteException", "DeadlineException")),
    (REFUSED, ("507", "OutOfMemoryException")),
)


class Measures:
    """The figures of one batch; one thread adds to it."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a figure."""
        self.sums[name, labels] += value  # type: ignore[assignment]  # seconds are sums, too

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes, however it ends."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)


def zeros() -> Measures:
    """Return the figures of a worker that has just begun."""
    measures = Measures()
    for name, labels in WATCHED:
        measures.add(name, 0, *labels)
    return measures

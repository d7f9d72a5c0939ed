"""What a request may spend, known before it is begun: passes through the network, and the seconds that they take."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from saliency.errors import bad_option
from saliency.methods.base import Cost
from saliency.model import Classifier, Pace
from saliency.passes import logits_and_gradient

TRIES = 2  # the first pass of a process is slower than any other


def measured_pace(classifier: Classifier) -> Pace:
    """Return the seconds that one row takes this network forward, and backward for each target."""
    height, width = classifier.input.size
    row = torch.zeros(1, classifier.input.channels, height, width, device=classifier.device)
    row = row.to(next(classifier.network.parameters(), row).dtype, memory_format=classifier.memory_format)
    with torch.inference_mode():
        forward = _seconds(classifier.forward_plain, row)
    both = _seconds(lambda x: logits_and_gradient(classifier.forward_plain, x)[1], row)
    return Pace(forward, max(both - forward, 0.0))


def _seconds(run: Callable[[Tensor], Tensor], row: Tensor) -> float:
    """Return the shortest of a few runs, its result brought to the CPU."""
    took = []
    for _ in range(TRIES):
        start = time.perf_counter()
        run(row).cpu()
        took.append(time.perf_counter() - start)
    return min(took)


def check_cost(method: str, cost: Cost, targets: int, classifier: Classifier) -> None:
    """Raise a 400, with the bound, for a request that would pass the archive's limits of passes or seconds."""
    limits, pace, pictures = classifier.limits, classifier.pace, cost.pictures(targets)
    said = f"'{method}' with these parameters evaluates up to {pictures:,} pictures"
    if pictures > limits.max_forwards:
        raise bad_option("method", f"{said}, and the limit is {limits.max_forwards:,} (max_forwards)")
    seconds = pictures * pace.forward + cost.backwards * targets * pace.backward
    if seconds > limits.max_seconds:
        message = f"{said}, about {seconds:,.0f} seconds here, and the limit is {limits.max_seconds} (max_seconds)"
        raise bad_option("method", message)

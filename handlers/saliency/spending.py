"""What a request may spend, known before it is begun: passes through the network, and the seconds that they take."""

from __future__ import annotations

from saliency.errors import bad_option
from saliency.methods.base import Cost
from saliency.model import Classifier


def check_cost(method: str, cost: Cost, targets: int, classifier: Classifier) -> None:
    """Raise a 400, with the bound, for a request that would pass the archive's limits of passes or seconds."""
    limits, pictures = classifier.limits, cost.pictures(targets)
    said = f"'{method}' with these parameters evaluates up to {pictures:,} pictures"
    if pictures > limits.max_forwards:
        raise bad_option("method", f"{said}, and the limit is {limits.max_forwards:,} (max_forwards)")
    if classifier.pace is None:
        return
    seconds = classifier.pace.seconds(pictures, cost.backwards * targets, limits.max_seconds)
    if seconds > limits.max_seconds:
        message = f"{said}, about {seconds:,.0f} seconds here, and the limit is {limits.max_seconds} (max_seconds)"
        raise bad_option("method", message)

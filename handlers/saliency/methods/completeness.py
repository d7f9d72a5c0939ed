"""How far a map is from adding up to what it explains."""

from __future__ import annotations

from torch import Tensor

from saliency.objective import evaluate


def completeness(attribution: Tensor, ends: Tensor, pair: tuple[int, int], score: str) -> dict[str, float]:
    """Return how far a map's sum is from the difference in score between two inputs, given their logits [2, K]."""
    difference = evaluate(ends[0], pair, score)[0] - evaluate(ends[1], pair, score)[0]
    return {
        "score_difference": difference,
        "completeness_gap": float(attribution.double().sum()) - difference,
    }

"""Warnings about methods that failed the sanity test, which scripts/archive.py runs and stores in the archive."""

from __future__ import annotations

from collections.abc import Mapping


def cautions(self_check: Mapping[str, object]) -> dict[str, str]:
    """Return the warning for each method whose maps hardly depend on the weights, by the method's name."""
    return {
        method: f"the map of '{method}' hardly changes if the weights of the upper layers are randomised "
        f"(rank correlation {alike:.2f}): it depends little on the trained weights"
        for method, alike in failed_methods(self_check.get("sanity")).items()
    }


def failed_methods(sanity: object) -> dict[str, float]:
    """Return each method whose maps hardly depend on the weights, with their rank correlation under random weights."""
    methods = sanity.get("methods") if isinstance(sanity, Mapping) else None
    results = {name: result for name, result in methods.items() if isinstance(result, Mapping)} if methods else {}
    return {
        name: float(result["spearman"]) for name, result in results.items() if result.get("depends_on_weights") is False
    }

"""What an archive's sanity test, which scripts/archive.py ran, found against its methods, in words."""

from __future__ import annotations

from collections.abc import Mapping


def caution(self_check: Mapping[str, object], method: str) -> str | None:
    """Return what the answers of a marked method say; None where the archive's test found nothing against it."""
    alike = marked(self_check.get("sanity")).get(method)
    if alike is None:
        return None
    return (
        f"the map of '{method}' hardly changes when the upper layers' weights are randomised "
        f"(rank correlation {alike:.2f}): it says little of what this network has learnt"
    )


def marked(sanity: object) -> dict[str, float]:
    """Return the methods that hardly depend on the weights, and how alike their maps stay without them."""
    methods = sanity.get("methods") if isinstance(sanity, Mapping) else None
    found = {name: said for name, said in methods.items() if isinstance(said, Mapping)} if methods else {}
    return {name: float(said["spearman"]) for name, said in found.items() if said.get("depends_on_weights") is False}

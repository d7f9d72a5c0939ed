"""Parameters that keep requests for all methods cheap in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

# by the name of the parameter, so that they apply to methods that are added later
CHEAP: Mapping[str, int] = MappingProxyType({"samples": 20, "steps": 6, "segments": 9, "channels": 4, "iterations": 4})


def cheap(parameters: Iterable[str]) -> dict[str, object]:
    """Return small values for those parameters that multiply the forward passes of a method."""
    return {name: CHEAP[name] for name in parameters if name in CHEAP}

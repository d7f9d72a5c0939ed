"""What requests of every method have in common in tests: parameters that keep them cheap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

# by the parameter's name, so that a method that is added is asked cheaply too
CHEAP: Mapping[str, int] = MappingProxyType({"samples": 20, "steps": 6, "segments": 9, "channels": 4, "iterations": 4})


def cheap(parameters: Iterable[str]) -> dict[str, object]:
    """Return values of the parameters that multiply a method's passes, small ones."""
    return {name: CHEAP[name] for name in parameters if name in CHEAP}

"""The mappings from names to tensors in a checkpoint, and their places in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from torch import Tensor

State = Mapping[str, Tensor]
_SWAPPED = "ema_state_dict"
_DEEPEST = 6
_LONGEST = 16  # items of a list that may be mappings of tensors


def state_mappings(checkpoint: object) -> dict[str, State]:
    """Return the mappings from names to tensors in a checkpoint by their places, such as `ema` or `model.state_dict`.

    Values that are no tensors are left out.
    """
    found: dict[str, State] = {}
    for place, mapping in nested_mappings(checkpoint):
        tensors: OrderedDict[str, Tensor] = OrderedDict(
            (str(k), v) for k, v in mapping.items() if isinstance(v, Tensor)
        )
        if tensors:
            tensors._metadata = getattr(mapping, "_metadata", None)  # type: ignore[attr-defined]
            found[place] = tensors
    return _unswapped(checkpoint, found)


def _unswapped(checkpoint: object, found: dict[str, State]) -> dict[str, State]:
    """Return the mappings under names that say what they hold.

    MMEngine swaps them when it saves: its `state_dict` is the average, and its `ema_state_dict` the other weights.
    """
    meta = checkpoint.get("meta") if isinstance(checkpoint, Mapping) else None
    if not isinstance(meta, Mapping) or "mmengine_version" not in meta or _SWAPPED not in found:
        return found
    names = {"state_dict": "state_dict.ema", _SWAPPED: "state_dict.source"}
    return {names.get(place, place): state for place, state in found.items()}


def nested_mappings(value: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Yield every mapping in a checkpoint with its place: the keys that lead to it, joined by dots."""
    items: list[tuple[object, object]] = []
    if isinstance(value, Mapping):
        yield place, value
        items = list(value.items())
    elif isinstance(value, list | tuple) and len(value) <= _LONGEST:
        items = list(enumerate(value))
    for key, inner in items if depth < _DEEPEST else ():
        yield from nested_mappings(inner, f"{place}.{key}" if place else str(key), depth + 1)

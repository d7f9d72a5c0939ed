"""The lines of the summary on the weights: the part of a checkpoint that they are, and changes of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torchserve_saliency.model.changes import Change, Layers
from torchserve_saliency.model.state_match import Match

_LISTED = 4  # names in a line


def weights_lines(match: Match | None) -> list[str]:
    """Return the lines on the part of a checkpoint that the weights are; none if they are the whole file."""
    if match is None or (match.place == "." and not (match.left_over or match.others or match.added or match.head)):
        return []
    parts = [f"'{match.key}' of the file" if match.key else "of the file"]
    if match.is_average:
        parts[0] += ", an average over the training (EMA)"
    if match.prefix:
        parts.append(f"prefix '{match.prefix}' removed")
    if match.added:
        parts.append(f"prefix '{match.added}' added")
    if match.head:
        parts.append(f"the head is '{match.head}.' beside it")
    lines = [f"  taken       {', '.join(parts)}"]
    if match.others:
        lines.append(f"              it also has {_listed(match.others)}: --state KEY takes another one")
    if match.left_over:
        lines.append(f"  left over   {_listed(match.left_over)}")
    if own := [name for name in match.left_over if name.rpartition(".")[2] in ("mean", "std")]:
        lines.append(f"              the training normalised by {_listed(own)}: check --mean and --std")
    return lines


def change_text(change: Change) -> str:
    """Return a change of a library's network in words."""
    if "in_channels" in change:
        return f"{change['in_channels']} input channels" + (", with a bias" if change.get("bias") else "")
    layers = _flat(cast(Layers, change["layers"]))
    unknown = "" if "" in layers or "0" in layers else "; layers before it have no weights, and are taken for dropout"
    return f"{', '.join(map(_layer_text, layers.values()))}{unknown}"


def _flat(layers: Layers) -> dict[str, object]:
    """Return the layers by their names, those of nested sequences among them."""
    flat: dict[str, object] = {}
    for name, layer in (pair for each in layers for pair in each.items()):
        nested = layer.get("layers") if isinstance(layer, Mapping) else None
        flat |= {name: layer} if nested is None else _flat(nested)
    return flat


def _layer_text(layer: object) -> str:
    if not isinstance(layer, Mapping):
        return str(layer)
    ((kind, sizes),) = layer.items()
    return f"{kind} {' -> '.join(str(size) for size in sizes if not isinstance(size, bool))}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more

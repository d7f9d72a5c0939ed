"""A cell of the table: the outcome of one method on one network."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

GOOD, REFUSED, BAD = OUTCOMES = ("good", "refused", "bad")
# the methods and their options; few steps, because a cell only says whether a method works, not how well
METHODS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gradient": {},
        "guided_backprop": {},
        "grad_cam": {
            "target": "top3"
        },  # its maps keep positive evidence only, and in a random network a class may have none
        "integrated_gradients": {"steps": "4"},
    }
)


@dataclass(frozen=True)
class Cell:
    """An outcome, and its reason if it is not good."""

    outcome: str
    reason: str = ""


def cell_of(status: int, body: bytes, logged: Iterable[str] = ()) -> Cell:
    """Return the cell of a response in format npy; `logged` holds the messages that the handler logged.

    The cell is good if every map is finite and the map of at least one target is not constant.
    """
    if status == 422:
        return Cell(REFUSED, _message(body))
    if status != 200:
        return Cell(BAD, "; ".join([f"{status}: {_message(body)}", *logged]))
    values = np.load(io.BytesIO(body))
    if not np.isfinite(values).all():
        return Cell(BAD, "not finite")
    if all(each.max() == each.min() for each in values):
        return Cell(BAD, f"constant: {values.flat[0]:.2g} everywhere")
    return Cell(GOOD)


def check_refusal(cell: Cell, relus: Iterable[str], layers: Iterable[str]) -> Cell:
    """Return the cell, or a bad one if the reason of a refusal is false.

    `relus` are the names of the ReLU modules in use, `layers` those of the layers whose output has height and width.
    """
    present = {"ReLUs": list(relus), "spatial extent": list(layers)}
    for requirement, names in present.items():
        if cell.outcome == REFUSED and requirement in cell.reason and names:
            return Cell(BAD, f"refused for lack of {requirement}, but the network has '{names[0]}': {cell.reason}")
    return cell


def _message(body: bytes) -> str:
    """Return the message of an error object, or the first bytes of another body."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return repr(body[:200])

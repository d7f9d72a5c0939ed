"""A cell of the matrix: what came of one method on one network."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

GOOD, REFUSED, BAD = OUTCOMES = ("good", "refused", "bad")
# what each method is asked with; few steps, as a cell tells whether the path is walked, not how well
METHODS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gradient": {},
        "guided_backprop": {},
        "grad_cam": {"target": "top3"},  # it keeps what speaks for a class, and in a random network that may be nothing
        "integrated_gradients": {"steps": "4"},
    }
)


@dataclass(frozen=True)
class Cell:
    """An outcome, and the reason where it is not good."""

    outcome: str
    reason: str = ""


def judged(status: int, body: bytes, logged: Iterable[str] = ()) -> Cell:
    """Return the cell of an answer asked for as npy; `logged` is what the server said of it to itself.

    Every map must be finite, and the map of one target at least not constant.
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


def doubted(cell: Cell, rectifiers: Iterable[str], layers: Iterable[str]) -> Cell:
    """Return the cell, bad where its refusal says that the network lacks what it has.

    `rectifiers` are the ReLU modules that a pass runs through, `layers` those whose output has height and width.
    """
    held = {"ReLUs": list(rectifiers), "spatial extent": list(layers)}
    for what, names in held.items():
        if cell.outcome == REFUSED and what in cell.reason and names:
            return Cell(BAD, f"refused for the want of {what}, and '{names[0]}' is there: {cell.reason}")
    return cell


def _message(body: bytes) -> str:
    """Return what an error object says, or its bytes where it is none."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return repr(body[:200])

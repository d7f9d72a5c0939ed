"""Which classes are to be explained: as they were asked for, and as the logits settle them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from saliency.errors import RequestError
from saliency.labels import Labels
from saliency.schema import shown

MOST_TARGETS = 100
_TOP = re.compile(r"top([0-9]{1,9})")
INDEX = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Rank:
    """The class that stands at `place` in the order of the logits; 0 is the predicted one."""

    place: int


Class = int | Rank
RUNNER_UP = "runner_up"


@dataclass(frozen=True)
class Targets:
    """Reads the option `target`: `predicted`, an index, a label, `top3`, or several in a JSON list or with `;`."""

    def read(self, value: object) -> tuple[str | int | Rank, ...]:
        items = [part.strip() for part in value.split(";")] if isinstance(value, str) else value
        items = items if isinstance(items, list) else [items]
        if not 0 < len(items) <= MOST_TARGETS:
            raise ValueError(f"must name 1 to {MOST_TARGETS} classes")
        return tuple(target for item in items for target in _read_target(item))

    def describe(self) -> dict[str, object]:
        return {"type": "target"}


@dataclass(frozen=True)
class Opponent:
    """Reads the option `against`: none, a class index, a label or `runner_up`."""

    def read(self, value: object) -> str | int | None:
        if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
            return None
        return _read_class(value)

    def describe(self) -> dict[str, object]:
        return {"type": "class"}


def _read_target(item: object) -> tuple[str | int | Rank, ...]:
    """Return the classes that one word of the option stands for."""
    word = item.strip().lower() if isinstance(item, str) else ""
    if word == "predicted":
        return (Rank(0),)
    if top := _TOP.fullmatch(word):
        if not 1 <= int(top[1]) <= MOST_TARGETS:
            raise ValueError(f"must be top1 to top{MOST_TARGETS}")
        return tuple(Rank(place) for place in range(int(top[1])))
    return (_read_class(item),)


def _read_class(item: object) -> str | int:
    """Return a class index, or a text that is a label or spells an index."""
    if isinstance(item, str) and 0 < len(item.strip()) <= 200:
        return item.strip()
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    raise ValueError("must be a class index, a label or a keyword")


def find_class(said: str | int, labels: Labels, option: str) -> int:
    """Return the index of the class that is meant, or raise the 422 that says why there is none.

    A text of digits is a label where there is such a label, so that a label sent back means its class, else an index.
    """
    if isinstance(said, str):
        if said in labels.names or not INDEX.fullmatch(said):
            return labels.find(said, option)
        said = int(said)
    if not 0 <= said < len(labels.names):
        message = f"class index {shown(said)} is out of range: the model has classes 0 to {len(labels.names) - 1}"
        raise RequestError(422, "ClassIndexException", message, option)
    return said


def ranking(logits: Tensor, count: int) -> list[int]:
    """Return the `count` best classes of logits [K], the best first; of equal ones, the first first."""
    values = logits.numpy()
    last = np.partition(values, -min(count, len(values)))[-min(count, len(values))]
    candidates = np.flatnonzero(~(values < last))  # not `>=`: what is not a number stays in, for others to refuse
    order: list[int] = candidates[np.argsort(-values[candidates], kind="stable")][:count].tolist()
    return order


def settle(targets: Sequence[Class], against: int | str | None, order: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return (target, against) for each target, -1 where nothing is held against it.

    `order` holds class indices, best first, as far down as the ranks asked for and one more.
    """
    if any(isinstance(t, Rank) and t.place >= len(order) for t in targets):
        raise RequestError(422, "ClassIndexException", f"the model has only {len(order)} classes", "target")
    settled = [order[t.place] if isinstance(t, Rank) else t for t in targets]
    return tuple((target, _opponent(target, against, order)) for target in settled)


def _opponent(target: int, against: int | str | None, order: Sequence[int]) -> int:
    """Return the class held against `target`, -1 for none; a class against itself is a 422."""
    if against is None:
        return -1
    if isinstance(against, str):
        rivals = [index for index in order if index != target]
        if not rivals:
            raise RequestError(422, "ClassIndexException", "the model has no second class", "against")
        return rivals[0]
    if against == target:
        message = f"class {target} stands against itself, and the difference is zero everywhere"
        raise RequestError(422, "SameClassException", message, "against")
    return against

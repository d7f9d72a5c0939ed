"""The classes to explain: the values of the options `target` and `against`, and the lookup of a class by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torchserve_saliency.engine.objective import Rank
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.schema import shown

MOST_TARGETS = 100
_TOP = re.compile(r"top([0-9]{1,9})")
INDEX = re.compile(r"[+-]?[0-9]{1,18}")
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
class Against:
    """Reads the option `against`: none, a class index, a label or `runner_up`."""

    def read(self, value: object) -> str | int | None:
        if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
            return None
        return _read_class(value)

    def describe(self) -> dict[str, object]:
        return {"type": "class"}


def _read_target(item: object) -> tuple[str | int | Rank, ...]:
    """Return the classes that one item of the option names: more than one if it is `topN`."""
    keyword = item.strip().lower() if isinstance(item, str) else ""
    if keyword == "predicted":
        return (Rank(0),)
    if top := _TOP.fullmatch(keyword):
        if not 1 <= int(top[1]) <= MOST_TARGETS:
            raise ValueError(f"must be top1 to top{MOST_TARGETS}")
        return tuple(Rank(place) for place in range(int(top[1])))
    return (_read_class(item),)


def _read_class(item: object) -> str | int:
    """Return a class index as a number, or as a text that may also be a label."""
    if isinstance(item, str) and 0 < len(item.strip()) <= 200:
        return item.strip()
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    raise ValueError("must be a class index, a label or a keyword")


def find_class(name: str | int, labels: Labels, option: str) -> int:
    """Return the index of a class given by its label or index; raise RequestError 422 if there is no such class.

    A text of digits is a label if the network has such a label, else an index. So a label from an answer can be sent
    back, even if it is a number.
    """
    if isinstance(name, str):
        if name in labels.names or not INDEX.fullmatch(name):
            return labels.find(name, option)
        name = int(name)
    if not 0 <= name < len(labels.names):
        message = f"class index {shown(name)} is out of range: the model has classes 0 to {len(labels.names) - 1}"
        raise RequestError(422, "ClassIndexException", message, option)
    return name

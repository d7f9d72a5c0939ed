"""The classes to explain: the values of the options `target` and `against`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torchserve_saliency.engine.objective import Above, Rank

MOST_TARGETS = 100
_TOP = re.compile(r"top([0-9]{1,9})")
_ABOVE = re.compile(r"(?:above|>=?|≥)[ _:=]*([0-9.eE+-]{1,40}) *(%?)")  # spellings of above0.5
RUNNER_UP = "runner_up"


@dataclass(frozen=True)
class Targets:
    """Reads the option `target`: `predicted`, an index, a label, `top3`, or several in a JSON list or with `;`.

    `above0.5`, every class of that probability or more, is always alone.
    """

    def read(self, value: object) -> tuple[str | int | Rank | Above, ...]:
        items = [part.strip() for part in value.split(";")] if isinstance(value, str) else value
        items = items if isinstance(items, list) else [items]
        if not 0 < len(items) <= MOST_TARGETS:
            raise ValueError(f"must name 1 to {MOST_TARGETS} classes")
        targets = tuple(target for item in items for target in _read_target(item))
        if len(targets) > 1 and any(isinstance(target, Above) for target in targets):
            raise ValueError("must be above… alone, without other classes")
        return targets

    def describe(self) -> dict[str, object]:
        return {"type": "target"}


@dataclass(frozen=True)
class HeadName:
    """Reads the option `head`: the name or the position of one of the network's outputs."""

    def read(self, value: object) -> str | int:
        if isinstance(value, str) and 0 < len(value.strip()) <= 200:
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise ValueError("must be the name or the position of an output of the network")

    def describe(self) -> dict[str, object]:
        return {"type": "head"}


@dataclass(frozen=True)
class Against:
    """Reads the option `against`: none, a class index, a label or `runner_up`."""

    def read(self, value: object) -> str | int | None:
        if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
            return None
        return _read_class(value)

    def describe(self) -> dict[str, object]:
        return {"type": "class"}


def _read_target(item: object) -> tuple[str | int | Rank | Above, ...]:
    """Return the classes that one item of the option names: more than one if it is `topN`."""
    keyword = item.strip().lower() if isinstance(item, str) else ""
    if keyword == "predicted":
        return (Rank(0),)
    if top := _TOP.fullmatch(keyword):
        if not 1 <= int(top[1]) <= MOST_TARGETS:
            raise ValueError(f"must be top1 to top{MOST_TARGETS}")
        return tuple(Rank(place) for place in range(int(top[1])))
    if above := _ABOVE.fullmatch(keyword):
        return (Above(_read_probability(above[1], percent=bool(above[2])), MOST_TARGETS),)
    return (_read_class(item),)


def _read_probability(text: str, percent: bool) -> float:
    try:
        probability = float(text) / (100 if percent else 1)
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise ValueError("must be above0 to above1")
    return probability


def _read_class(item: object) -> str | int:
    """Return a class index as a number, or as a text that may also be a label."""
    if isinstance(item, str) and 0 < len(item.strip()) <= 200:
        return item.strip()
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    raise ValueError("must be a class index, a label or a keyword")

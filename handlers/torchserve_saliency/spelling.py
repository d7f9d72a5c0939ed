"""Names that people spell differently: `gradcam`, `Grad-CAM` and `GradCAM` are readings of `grad_cam`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_SEPARATORS = re.compile(r"[\s_./\u2010-\u2015-]+")
_SIGNS = str.maketrans({"+": "plus", "*": "x", "\u00d7": "x"})
_LONGEST = 100  # characters of a name that is compared
_SHORTEST_PART = 4  # characters of a name that is looked for in others


def spelling_key(name: str) -> str:
    """Return a name in lower case without separators, so that spellings of one name have equal keys."""
    return _SEPARATORS.sub("", name[: _LONGEST + 1].casefold().translate(_SIGNS))


def find_spelling(name: str, names: Iterable[str], aliases: Mapping[str, str] | None = None) -> str | None:
    """Return the one of `names` that `name` is a spelling of, or None if there is none, or more than one.

    `aliases` holds further spellings. A name that is spelt exactly, except for case, is preferred.
    """
    known = tuple(names)
    lower = name.strip().casefold()
    exact = [each for each in known if each.casefold() == lower]
    if len(exact) == 1:
        return exact[0]
    key = spelling_key(name)
    readings = {each for each in known if spelling_key(each) == key}
    readings |= {meant for alias, meant in (aliases or {}).items() if spelling_key(alias) == key and meant in known}
    return readings.pop() if key and len(readings) == 1 else None


def similar_names(
    name: str, names: Iterable[str], aliases: Mapping[str, str] | None = None, count: int = 3
) -> list[str]:
    """Return up to `count` of `names` whose spelling, or that of an alias, is most similar to `name`, best first.

    If none is similar, those that contain `name` are returned, or that it contains.
    """
    keys: dict[str, str] = {spelling_key(alias): meant for alias, meant in (aliases or {}).items()}
    keys |= {spelling_key(each): each for each in names}
    key = spelling_key(name)
    near = get_close_matches(key, keys, n=2 * count) or sorted(
        (each for each in keys if min(len(key), len(each)) >= _SHORTEST_PART and (key in each or each in key)),
        key=lambda each: abs(len(each) - len(key)),
    )
    return list(dict.fromkeys(keys[match] for match in near))[:count]

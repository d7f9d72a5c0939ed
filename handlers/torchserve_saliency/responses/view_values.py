"""A view with other values than those of its request, checked as the options of a request are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from torchserve_saliency.errors import bad_option
from torchserve_saliency.responses.colormap import check_colormap
from torchserve_saliency.responses.explanation import BACKDROPS, RENDERS, View

SPACES = ("input", "original")


def changed_view(view: View, values: Mapping[str, Any]) -> View:
    """Return a view with the values changed; a value None is ignored.

    Raise TypeError for a name that is not of a view, RequestError 400 for an invalid value.
    """
    names = [field.name for field in fields(View)]
    given = {name: value for name, value in values.items() if value is not None}
    if unknown := [name for name in given if name not in names]:
        raise TypeError(f"a map is drawn without an option {unknown[0]!r}; it has {', '.join(names)}")
    for name, value in given.items():
        try:
            given[name] = _CHECKS[name](value)
        except ValueError as error:
            raise bad_option(name, f"'{name}' {error}, not {value!r}"[:300]) from None
    changed = replace(view, **given)
    if changed.floor >= changed.clip:
        raise bad_option("floor" if "floor" in given else "clip", "'floor' must be below 'clip'")
    return changed


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        name = value.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else ""
        if name not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return name

    return check


def _number(highest: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if isinstance(value, bool) or not 0 <= number <= highest:
            raise ValueError(f"must be a number from 0 to {highest:g}")
        return number

    return check


def _colormap(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be the name of a Matplotlib colormap")
    return check_colormap(value)


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


_CHECKS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "render": _one_of(RENDERS),
        "space": _one_of(SPACES),
        "colormap": _colormap,
        "alpha": _number(1),
        "clip": _number(100),
        "floor": _number(100),
        "backdrop": _one_of(BACKDROPS),
        "caption": _boolean,
    }
)

"""Typed, bounded values: what an option or a method's parameter may be, and how it is read from text or JSON.

A dataclass whose fields carry a kind is the schema; `read` makes an instance of it out of what a client sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Protocol, TypeVar

from saliency.errors import bad_option

T = TypeVar("T")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class Kind(Protocol):
    """Reads one value (ValueError says what it must be) and describes itself."""

    def read(self, value: object) -> object: ...

    def describe(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class Integer:
    """A whole number from `minimum` to `maximum`."""

    minimum: int
    maximum: int

    def read(self, value: object) -> int:
        if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise ValueError(f"must be a whole number from {self.minimum} to {self.maximum}")
        return value

    def describe(self) -> dict[str, object]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True)
class Number:
    """A finite number from `minimum` to `maximum`."""

    minimum: float
    maximum: float

    def read(self, value: object) -> float:
        number = _finite(value)
        if number is None or not self.minimum <= number <= self.maximum:
            raise ValueError(f"must be a number from {self.minimum:g} to {self.maximum:g}")
        return number

    def describe(self) -> dict[str, object]:
        return {"type": "number", "minimum": self.minimum, "maximum": self.maximum}


def _finite(value: object) -> float | None:
    """Return the finite number that `value` is or spells, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"[0-9eE.+\- ]{1,40}", value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class Boolean:
    """True or false, as JSON or as text."""

    def read(self, value: object) -> bool:
        said = value.strip().lower() if isinstance(value, str) else value
        if said is True or said in ("true", "1"):
            return True
        if said is False or said in ("false", "0"):
            return False
        raise ValueError("must be true or false")

    def describe(self) -> dict[str, object]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    """One of a few names, case-insensitive."""

    names: tuple[str, ...]

    def read(self, value: object) -> str:
        said = value.strip().lower() if isinstance(value, str) else None
        if said in self.names:
            return str(said)
        near = get_close_matches(said or "", self.names, n=1)
        raise ValueError(f"must be one of {', '.join(self.names)}" + (f"; did you mean {near[0]}?" if near else ""))

    def describe(self) -> dict[str, object]:
        return {"type": "string", "choices": list(self.names)}


@dataclass(frozen=True)
class Text:
    """A printable text of 1 to `longest` characters."""

    longest: int = 200

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not 0 < len(value.strip()) <= self.longest or not value.isprintable():
            raise ValueError(f"must be a printable text of 1 to {self.longest} characters")
        return value.strip()

    def describe(self) -> dict[str, object]:
        return {"type": "string"}


def option(default: Any, kind: Kind, help: str) -> Any:
    """Return a dataclass field of this kind; like `dataclasses.field`, typed by the annotation it stands under."""
    return field(default=default, metadata={"kind": kind, "help": help})


def kinds(schema: type) -> dict[str, Kind]:
    """Return the kind of each option of a schema, by name, in order."""
    return {f.name: f.metadata["kind"] for f in fields(schema)}


def describe(schema: type) -> dict[str, dict[str, object]]:
    """Return each option's type, default and bounds, as the describe route shows them."""
    return {f.name: f.metadata["kind"].describe() | {"default": f.default} for f in fields(schema)}


def read(schema: Callable[..., T], values: Mapping[str, object]) -> T:
    """Return an instance of `schema` made of `values`, each read by its kind; the first wrong one is a 400.

    A null stands for what is not given, where that is the default.
    """
    known = {f.name: f for f in fields(schema)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if value is not None or known[name].default is not None}
    return schema(**{name: read_one(name, known[name].metadata["kind"], value) for name, value in given.items()})


def read_one(name: str, kind: Kind, value: object) -> object:
    """Return `value` read by its kind, or raise the 400 that names the option."""
    try:
        return kind.read(value)
    except ValueError as error:
        raise bad_option(name, f"'{name}' {error}, not {shown(value)}") from None


def shown(value: object, longest: int = 60) -> str:
    """Return what a client sent as it may be shown back: short, on one line."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

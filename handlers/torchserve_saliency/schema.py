"""Types of options and method parameters, with bounds, and their parsing from text or JSON.

A schema is a dataclass whose fields are made by `option`; `read` builds an instance of it from the values of a request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

from torchserve_saliency.errors import bad_option
from torchserve_saliency.spelling import find_spelling, similar_names

T = TypeVar("T")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class OptionType(Protocol):
    """The type of one option."""

    def read(self, value: object) -> object:
        """Return the parsed value, or raise ValueError with a message such as "must be true or false"."""

    def describe(self) -> dict[str, object]:
        """Return the type and its bounds as JSON values."""


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
    """Return `value` as a finite number if it is one or the text of one, else None."""
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
        normalised = value.strip().lower() if isinstance(value, str) else value
        if normalised is True or normalised in ("true", "1"):
            return True
        if normalised is False or normalised in ("false", "0"):
            return False
        raise ValueError("must be true or false")

    def describe(self) -> dict[str, object]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    """One of several names, or an alias of one; case, hyphens, underscores and spaces are ignored."""

    names: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def read(self, value: object) -> str:
        name = value if isinstance(value, str) else ""
        if name in self.names:
            return name
        if found := find_spelling(name, self.names, self.aliases):
            return found
        if near := similar_names(name, self.names, self.aliases, 1):
            raise ValueError(f"must be a known name; did you mean {near[0]}? Known are {', '.join(self.names)}")
        raise ValueError(f"must be one of {', '.join(self.names)}")

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


def option(default: Any, type: OptionType, help: str, *, unit: str = "") -> Any:
    """Return a dataclass field of this type; the result is `Any`, as that of `dataclasses.field`.

    `help` is one line for a form, and `unit` the word to write after the value, if it has a unit.
    """
    return field(default=default, metadata={"type": type, "help": help, "unit": unit})


def option_types(schema: type) -> dict[str, OptionType]:
    """Return the type of each option of a schema by its name, in order."""
    return {f.name: f.metadata["type"] for f in fields(schema)}


def describe(schema: type) -> dict[str, dict[str, object]]:
    """Return the type, bounds, default, help text and unit of each option as JSON values, for the describe route.

    An option without a unit has no entry `unit`.
    """
    return {f.name: f.metadata["type"].describe() | {"default": f.default} | _texts(f.metadata) for f in fields(schema)}


def _texts(metadata: Mapping[str, str]) -> dict[str, object]:
    """Return the texts of an option that a form shows: its help text, and its unit if it has one."""
    return {name: metadata[name] for name in ("help", "unit") if metadata[name]}


def read(schema: Callable[..., T], values: Mapping[str, object]) -> T:
    """Return an instance of `schema` with `values` parsed; raise RequestError 400 for the first invalid one.

    A null value is ignored if the option's default is null.
    """
    known = {f.name: f for f in fields(schema)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if value is not None or known[name].default is not None}
    return schema(**{name: read_one(name, known[name].metadata["type"], value) for name, value in given.items()})


def read_one(name: str, type: OptionType, value: object) -> object:
    """Return the parsed value of an option, or raise RequestError 400."""
    try:
        return type.read(value)
    except ValueError as error:
        raise bad_option(name, f"'{name}' {error}, not {shown(value)}") from None


def shown(value: object, longest: int = 60) -> str:
    """Return a value from a request as short text on one line, for an error message."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

"""Command-line flags declared as the fields of a dataclass, and the parsers of their values."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torchserve_saliency.model.archive import Limits

LIMITS = tuple(each.name for each in fields(Limits))


@dataclass(frozen=True)
class Flag:
    """A flag's group in the help, its short forms, and its keywords for argparse."""

    group: str
    short: tuple[str, ...]
    keywords: Mapping[str, Any]


def flag(group: str, help: str, *short: str, **keywords: Any) -> Any:
    """Declare a field that is set by the flag of its name: `batch_size` by --batch-size.

    The keywords are those of argparse's `add_argument`.
    """
    return field(metadata={"flag": Flag(group, short, {"help": help, **keywords})})


def flags(declaration: type) -> dict[str, Flag]:
    """Return the flags of a dataclass by the names of their fields."""
    return {each.name: each.metadata["flag"] for each in fields(declaration) if "flag" in each.metadata}


def add_flags(parser: argparse.ArgumentParser, declaration: type) -> None:
    """Add the flags of a dataclass to a parser, in their groups."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, each in flags(declaration).items():
        if each.group not in groups:
            groups[each.group] = parser.add_argument_group(each.group)
        groups[each.group].add_argument(*each.short, spelling(name), dest=name, **each.keywords)


def spelling(name: str) -> str:
    """Return a field's flag as it is typed."""
    return f"--{name.replace('_', '-')}"


def json_object(text: str) -> dict[str, object]:
    """Return a JSON object; raise ValueError for any other text."""
    value: object = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def limits(text: str) -> dict[str, object]:
    """Return a JSON object of limits; raise ArgumentTypeError for one that is unknown or not positive."""
    values = json_object(text)
    if unknown := sorted(set(values) - set(LIMITS)):
        raise argparse.ArgumentTypeError(f"there is no '{unknown[0]}'; there are {', '.join(LIMITS)}")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise argparse.ArgumentTypeError(f"'{name}' must be a positive whole number")
    return values


def positive(text: str) -> int:
    """Return a positive whole number; raise ArgumentTypeError for any other number."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def output_key(text: str) -> str | int:
    """Return a position if the text is a whole number, else a key."""
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def numbers(text: str) -> tuple[float, ...]:
    """Return numbers that are separated by commas."""
    return tuple(float(part) for part in text.split(","))


def sides(text: str) -> tuple[int, ...]:
    """Return one or two positive whole numbers that are separated by a comma."""
    values = tuple(positive(part) for part in text.split(","))
    if len(values) > 2:
        raise ValueError
    return values


def size(text: str) -> tuple[int, int]:
    """Return a height and a width; a single number is both."""
    values = sides(text)
    return values[0], values[-1]

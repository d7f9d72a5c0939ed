"""Command-line flags declared as the fields of a dataclass, and the parsers of their values."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torchserve_saliency.model.activation import ACTIVATIONS
from torchserve_saliency.model.archive import Limits

FILLS = ("black", "grey", "white", "mean")
Fill = str | tuple[int, ...]
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
    """Return a field's flag as it is typed: --batch-size for `batch_size`, --class for `class_`."""
    return f"--{name.rstrip('_').replace('_', '-')}"


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


def activation(text: str) -> str | dict[str, str]:
    """Return the name of an activation, or a mapping from outputs to names; raise ArgumentTypeError for others."""
    named = {output: name.lower() for output, name in pairs(text).items()}
    for name in (named or {"": text.lower()}).values():
        if name not in ACTIVATIONS:
            raise argparse.ArgumentTypeError(f"'{name}' is not one of {', '.join(ACTIVATIONS)}")
    return named or text.lower()


def pairs(text: str) -> dict[str, str]:
    """Return the pairs in a text NAME=VALUE,NAME=VALUE; it is empty if the text is not of that form.

    Raise ArgumentTypeError if a name stands there twice.
    """
    parts = [part.partition("=") for part in text.split(",")]
    if not all(separator for _, separator, _ in parts):
        return {}
    found = {name.strip(): value.strip() for name, _, value in parts}
    if len(found) < len(parts):
        raise argparse.ArgumentTypeError(f"'{text}' names an output twice")
    return found


def paths(text: str) -> tuple[Path, ...]:
    """Return paths that are separated by commas."""
    return tuple(Path(part.strip()) for part in text.split(",") if part.strip())


def share(text: str) -> float:
    """Return a number from 0 to 1; raise ArgumentTypeError for any other number."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


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


def fill(text: str) -> Fill:
    """Return the name of a padding, or its levels; raise ArgumentTypeError for anything else."""
    if text in FILLS:
        return text
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(0 <= level <= 255 for level in levels):
        raise argparse.ArgumentTypeError(f"'{text}' is not {', '.join(FILLS)}, or levels from 0 to 255")
    return levels

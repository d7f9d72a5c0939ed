"""One input that people bring: its number, a description, and the code that tries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.cases.workshop import Workshop


@dataclass(frozen=True)
class Case:
    """An input from the field.

    `number` is a letter for the section and a number. `run` tries the input and returns the answer in a few words,
    for the table. It raises AssertionError if the answer is wrong, and SkippedCaseError if it needs something that is
    not there.
    """

    number: str
    input: str
    run: Callable[[Workshop], str]


class SkippedCaseError(Exception):
    """A case that cannot be tried on this machine; the message is the reason."""


def check(true: bool, message: str) -> None:
    """Raise AssertionError with a message if `true` is false; unlike `assert`, also under `python -O`."""
    if not true:
        raise AssertionError(message)

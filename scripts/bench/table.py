"""The section of all methods as Markdown: a row a method and library, and the names of its figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from scripts.bench.beside import ENGINE
from scripts.bench.figures import Figure

METHODS = "methods"
COLUMNS = (f"{ENGINE} / forward", "library / forward", f"{ENGINE} / library")
TERMS = (
    "Both do equal work from the same decoded pictures to maps on the CPU, with the parameters in the last column, "
    "fewer passes than the defaults take (where none are named, the defaults); the engine on its prepared network, "
    "the library on the plain one, as a user has it, with as many rows at a time. The forward pass is a bare one of "
    "the prepared network in inference mode, of as many pictures. An agreement is the correlation of the two maps."
)


def over_forward(method: str, worker: str, size: int) -> str:
    """Return the name of what a worker's time is over a forward pass of as many pictures."""
    return f"{method}, batch of {size}: {worker} / forward"


def beside(method: str, library: str, size: int) -> str:
    """Return the name of a method's ratio of times beside a library."""
    return f"{method}, batch of {size}: {ENGINE} / {library}"


def agreement(method: str, library: str) -> str:
    """Return the name of the correlation of a method's maps with a library's."""
    return f"{method}: agreement with {library}"


def method_table(network: str, figures: Sequence[Figure], cell: Callable[[Figure], str]) -> str:
    """Return the table of a network: a row a method, and one for each further library that has it."""
    found = {figure.name: figure for figure in figures}
    sizes = sorted({int(size) for name in found for size in re.findall(r", batch of (\d+): ", name)})
    heads = [f"{column}, {size}" for size in sizes for column in COLUMNS]
    lines = [f"| {network} | library | {' | '.join(heads)} | agreement | parameters, and where the work differs |"]
    lines += [f"| --- | --- |{' ---: |' * (len(heads) + 1)} --- |"]
    for method, library in _rows(found):
        names = [name for size in sizes for name in _names(method, library, size)]
        cells = [cell(found[name]) if name in found else "" for name in (*names, agreement(method, library))]
        lines.append(f"| {method} | {library} | {' | '.join(cells)} | {_said(found, names)} |")
    return "\n".join(lines)


def _names(method: str, library: str, size: int) -> tuple[str, str, str]:
    """Return the names of a row's three figures of a batch size."""
    return over_forward(method, ENGINE, size), over_forward(method, library, size), beside(method, library, size)


def _rows(found: Mapping[str, Figure]) -> list[tuple[str, str]]:
    """Return the methods with each library that was measured, in the figures' order; "" where there was none."""
    pairs = filter(None, (re.fullmatch(r"(\w+), batch of \d+: (.+) / forward", name) for name in found))
    rows = dict.fromkeys((match[1], "" if match[2] == ENGINE else match[2]) for match in pairs)
    shared = {method for method, library in rows if library}
    return [(method, library) for method, library in rows if library or method not in shared]


def _said(found: Mapping[str, Figure], names: Sequence[str]) -> str:
    """Return what the row's figures say of their terms, each once."""
    return "; ".join(dict.fromkeys(found[name].note for name in names if name in found and found[name].note))

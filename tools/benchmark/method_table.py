"""The names of the figures of the section methods, and its Markdown table with one row per method and library."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tools.benchmark.comparison import ENGINE
from tools.benchmark.measurements import Figure
from tools.markdown_table import markdown_table

METHODS = "methods"
COLUMNS = (f"{ENGINE} / forward", "library / forward", f"{ENGINE} / library")
DESCRIPTION = (
    "The engine and the library do equal work from the same decoded pictures to maps on the CPU. The last column holds "
    "the parameters, with fewer passes than the defaults; if it names none, they are the defaults. The engine uses its "
    "prepared network, the library the plain one, both with the same number of rows at a time. The forward pass is one "
    "of the prepared network in inference mode with the same number of pictures. The agreement is the correlation of "
    "the two maps."
)


def forward_ratio(method: str, worker: str, size: int) -> str:
    """Return the name of the ratio of a worker's time to that of a forward pass of the same batch size."""
    return f"{method}, batch of {size}: {worker} / forward"


def library_time_ratio(method: str, library: str, size: int) -> str:
    """Return the name of the ratio of the engine's time to a library's."""
    return f"{method}, batch of {size}: {ENGINE} / {library}"


def agreement_name(method: str, library: str) -> str:
    """Return the name of the correlation of the engine's maps with a library's."""
    return f"{method}: agreement with {library}"


def method_table(network: str, figures: Sequence[Figure], cell: Callable[[Figure], str]) -> str:
    """Return the table of a network, with one row per method and library. `cell` formats a figure."""
    by_name = {figure.name: figure for figure in figures}
    sizes = sorted({int(size) for name in by_name for size in re.findall(r", batch of (\d+): ", name)})
    numbers = [*(f"{column}, {size}" for size in sizes for column in COLUMNS), "agreement"]
    rows = []
    for method, library in _rows(by_name):
        names = [name for size in sizes for name in _names(method, library, size)]
        shown = (*names, agreement_name(method, library))
        cells = [cell(by_name[name]) if name in by_name else "" for name in shown]
        rows.append([method, library, *cells, _notes(by_name, names)])
    header = [network, "library", *numbers, "parameters and differences in work"]
    return markdown_table(header, rows, "ll" + "r" * len(numbers) + "l")


def _names(method: str, library: str, size: int) -> tuple[str, str, str]:
    """Return the names of a row's three figures for a batch size."""
    return (
        forward_ratio(method, ENGINE, size),
        forward_ratio(method, library, size),
        library_time_ratio(method, library, size),
    )


def _rows(figures: Mapping[str, Figure]) -> list[tuple[str, str]]:
    """Return the measured pairs of method and library; the library is "" if only the engine was measured."""
    pairs = filter(None, (re.fullmatch(r"(\w+), batch of \d+: (.+) / forward", name) for name in figures))
    rows = dict.fromkeys((match[1], "" if match[2] == ENGINE else match[2]) for match in pairs)
    compared = {method for method, library in rows if library}
    return [(method, library) for method, library in rows if library or method not in compared]


def _notes(figures: Mapping[str, Figure], names: Sequence[str]) -> str:
    """Return the different notes of a row's figures."""
    return "; ".join(dict.fromkeys(figures[name].note for name in names if name in figures and figures[name].note))

"""Markdown tables of ready-made cells."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

_ALIGNMENTS = {"l": "left", "r": "right"}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> str:
    """Return a Markdown table. `alignment` has one letter per column: l for text, r for numbers.

    Raise ValueError if a row, or the alignment, does not have one entry per column.
    """
    if any(len(cells) != len(header) for cells in (alignment, *rows)):
        raise ValueError(f"a row or the alignment {alignment!r} does not fit the {len(header)} columns")
    escaped = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in rows]
    columns = [_ALIGNMENTS[letter] for letter in alignment]
    # disable_numparse: the cells are formatted already, for example with units, quartiles or thousands separators
    table: str = tabulate(escaped, header, tablefmt="pipe", disable_numparse=True, colalign=columns)
    return table

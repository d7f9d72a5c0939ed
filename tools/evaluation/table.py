"""Measurements as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tools.evaluation.run import Measurements
from tools.markdown_table import markdown_table

Column = tuple[str, str, str, int]  # heading, part of the measurements, measure, decimals


def table(parts: Mapping[str, Mapping[str, Measurements]], columns: Sequence[Column], names: Sequence[str]) -> str:
    """Return a table with one row per kind of map; `parts` maps each part to its measurements by kind of map."""
    rows = [[name, *(_cell(parts, name, column) for column in columns)] for name in names]
    return markdown_table(["map", *(heading for heading, *_ in columns)], rows, "l" + "r" * len(columns))


def _cell(parts: Mapping[str, Mapping[str, Measurements]], name: str, column: Column) -> str:
    _, part, measure, digits = column
    value = parts.get(part, {}).get(name, {}).get(measure)
    return "" if value is None else f"{value:.{digits}f}"

"""Figures as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scripts.evaluation.run import Figures

Column = tuple[str, str, str, int]  # heading, part of the figures, measure, digits


def table(parts: Mapping[str, Mapping[str, Figures]], columns: Sequence[Column], names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table with a row a kind of map; `parts` holds the figures of each part by that kind."""
    yield "| map | " + " | ".join(heading for heading, *_ in columns) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for name in names:
        yield f"| {name} | " + " | ".join(_cell(parts, name, column) for column in columns) + " |"


def _cell(parts: Mapping[str, Mapping[str, Figures]], name: str, column: Column) -> str:
    _, part, measure, digits = column
    figure = parts.get(part, {}).get(name, {}).get(measure)
    return "" if figure is None else f"{figure:.{digits}f}"

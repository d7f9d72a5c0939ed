"""The figures as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from tools.benchmark.measurements import Figure, Unit
from tools.benchmark.method_table import DESCRIPTION, METHODS, method_table
from tools.markdown_table import markdown_table

Settings = Mapping[str, object]
DIGITS: Mapping[Unit, int] = {"ratio": 3, "ms": 1, "MB": 0, "bytes": 0, "1/s": 1}
TITLES: Mapping[str, str] = {
    "latency": "Single requests",
    "saturation": "At saturation",
    "captum": "Compared with the libraries, in one process, batches of 8",
    "memory": "Peak memory",
    "profile": "Stages of a request",
    METHODS: "Every method, relative to a forward pass and to the libraries",
}
STATISTICS = "Medians [quartiles] over the rounds. Ratios with a bound are also given for the fastest runs."
WARNING = "Warning: other processes were running at the start, so the times may be too long."
MAX_LOAD = 0.25  # average load of the last minute per core; above it, the warning is printed
UNITS: Mapping[Unit, str] = {"ratio": "ratio", "ms": "ms", "MB": "MB", "bytes": "bytes", "1/s": "per second"}


def markdown(settings: Settings, figures: Sequence[Figure]) -> str:
    """Return the settings, the figures with a bound, and one table per section and unit."""
    parts = [", ".join(f"{name} {value}" for name, value in settings.items()) + "."]
    parts += [STATISTICS]
    if float(str(settings.get("load before", 0))) > MAX_LOAD * int(str(settings.get("cores", 1))):
        parts += [WARNING]
    if bounded := [figure for figure in figures if figure.bound]:
        parts += ["## Figures with a bound", bounds_table(bounded)]
    for section in TITLES:
        parts += _section(section, [figure for figure in figures if figure.section == section])
    return "\n\n".join(parts) + "\n"


def bounds_table(bounded: Iterable[Figure]) -> str:
    """Return a table with one row per figure with a bound."""
    rows = []
    for figure in bounded:
        assert figure.bound
        reached = "yes" if figure.bound.reached(figure.quartiles.median) else "**no**"
        fastest = "" if figure.fastest is None else figure.bound.format(figure.fastest)
        rows.append([figure.name, figure.network, format_figure(figure), fastest, str(figure.bound), reached])
    header = ["figure", "network", "median [quartiles]", "fastest runs", "bound", "reached"]
    return markdown_table(header, rows, "llrrrl")


def format_figure(figure: Figure) -> str:
    """Return median and quartiles. If the figure has a bound, rounding never makes the median look better."""
    digits, each = DIGITS[figure.unit], figure.quartiles
    median = figure.bound.format(each.median, digits) if figure.bound else f"{each.median:,.{digits}f}"
    return median + (f" [{each.low:,.{digits}f}, {each.high:,.{digits}f}]" if len(figure.values) > 1 else "")


def as_json(settings: Settings, figures: Sequence[Figure]) -> str:
    """Return the settings and the figures with the values of every round."""
    return json.dumps({"settings": settings, "figures": [_entry(figure) for figure in figures]}, indent=1)


def _section(section: str, figures: Sequence[Figure]) -> list[str]:
    """Return a section's title and its tables, ratios first. The section methods has one table per network instead."""
    if section == METHODS:
        networks = dict.fromkeys(figure.network for figure in figures)
        tables = [method_table(name, [f for f in figures if f.network == name], format_figure) for name in networks]
        return [f"## {TITLES[section]}", DESCRIPTION, *tables] if figures else []
    tables = [_table(unit, [figure for figure in figures if figure.unit == unit]) for unit in UNITS]
    return [f"## {TITLES[section]}", *filter(None, tables)] if figures else []


def _table(unit: Unit, figures: Sequence[Figure]) -> str:
    """Return the table of the figures of one unit by network, or nothing if there are no figures."""
    if not figures:
        return ""
    networks = list(dict.fromkeys(figure.network for figure in figures))
    cells = {(figure.name, figure.network): format_figure(figure) for figure in figures}
    names = dict.fromkeys(figure.name for figure in figures)
    rows = [[name, *(cells.get((name, network), "") for network in networks)] for name in names]
    return markdown_table([UNITS[unit], *networks], rows, "l" + "r" * len(networks))


def _entry(figure: Figure) -> dict[str, object]:
    """Return a figure as a JSON object."""
    each, bound = figure.quartiles, figure.bound
    entry: dict[str, object] = {
        "section": figure.section,
        "network": figure.network,
        "name": figure.name,
        "unit": figure.unit,
        "median": each.median,
        "quartiles": [each.low, each.high],
        "values": list(figure.values),
        "fastest": figure.fastest,
    }
    entry |= {"note": figure.note} if figure.note else {}
    return entry if bound is None else entry | {"bound": str(bound), "reached": bound.reached(each.median)}

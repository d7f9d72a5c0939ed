"""The figures as Markdown, ratios first, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from scripts.bench.figures import Figure, Unit
from scripts.bench.table import METHODS, TERMS, method_table

Settings = Mapping[str, object]
DIGITS: Mapping[Unit, int] = {"ratio": 3, "ms": 1, "MB": 0, "bytes": 0, "1/s": 1}
TITLES: Mapping[str, str] = {
    "latency": "One request after the other",
    "saturation": "At saturation",
    "captum": "Beside the libraries, in one process, batches of 8",
    "memory": "Peak memory",
    "profile": "One request, stage by stage",
    METHODS: "Every method over one plain forward pass, beside the libraries",
}
METHOD = "Medians [quartiles] of values taken round by round; a ratio of the fastest runs stands beside those judged."
BEWARE = "Beware: other processes had the cores when this began, which stretches the runs, and some more than others."
BUSY = 0.25  # of the cores, by the load of the last minute
UNITS: Mapping[Unit, str] = {"ratio": "ratio", "ms": "ms", "MB": "MB", "bytes": "bytes", "1/s": "a second"}


def markdown(settings: Settings, figures: Sequence[Figure]) -> str:
    """Return settings, the ratios that are judged, and a table a section and unit; medians and quartiles."""
    parts = [", ".join(f"{name} {value}" for name, value in settings.items()) + "."]
    parts += [METHOD]
    if float(str(settings.get("load before", 0))) > BUSY * int(str(settings.get("cores", 1))):
        parts += [BEWARE]
    if judged := [figure for figure in figures if figure.bound]:
        parts += ["## Held to a bound", judgement(judged)]
    for section in TITLES:
        parts += _section(section, [figure for figure in figures if figure.section == section])
    return "\n\n".join(parts) + "\n"


def judgement(judged: Iterable[Figure]) -> str:
    """Return a line a judged figure: its median rounded away from the bound, and whether that is reached."""
    lines = ["| what | network | median [quartiles] | fastest runs | bound | reached |"]
    lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
    for figure in judged:
        assert figure.bound
        reached = "yes" if figure.bound.reached(figure.spread.median) else "**no**"
        fastest = "" if figure.fastest is None else figure.bound.shown(figure.fastest)
        cells = (figure.name, figure.network, cell(figure), fastest, str(figure.bound), reached)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figure: Figure) -> str:
    """Return median and quartiles in the figure's digits; a judged median is rounded to its disfavour."""
    digits, found = DIGITS[figure.unit], figure.spread
    median = figure.bound.shown(found.median, digits) if figure.bound else f"{found.median:,.{digits}f}"
    return median + (f" [{found.low:,.{digits}f}, {found.high:,.{digits}f}]" if len(figure.values) > 1 else "")


def as_json(settings: Settings, figures: Sequence[Figure]) -> str:
    """Return settings and figures, every value of every round among them."""
    return json.dumps({"settings": settings, "figures": [_entry(figure) for figure in figures]}, indent=1)


def _section(section: str, figures: Sequence[Figure]) -> list[str]:
    """Return a section's title and its tables, ratios first; methods have a table of their own, a network each."""
    if section == METHODS:
        networks = dict.fromkeys(figure.network for figure in figures)
        own = [method_table(name, [f for f in figures if f.network == name], cell) for name in networks]
        return [f"## {TITLES[section]}", TERMS, *own] if figures else []
    tables = [_table(unit, [figure for figure in figures if figure.unit == unit]) for unit in UNITS]
    return [f"## {TITLES[section]}", *filter(None, tables)] if figures else []


def _table(unit: Unit, figures: Sequence[Figure]) -> str:
    """Return a table of names by networks, nothing where there are no figures."""
    if not figures:
        return ""
    networks = list(dict.fromkeys(figure.network for figure in figures))
    found = {(figure.name, figure.network): cell(figure) for figure in figures}
    lines = [f"| {UNITS[unit]} | {' | '.join(networks)} |", f"| --- |{' ---: |' * len(networks)}"]
    names = dict.fromkeys(figure.name for figure in figures)
    lines += [f"| {name} | {' | '.join(found.get((name, network), '') for network in networks)} |" for name in names]
    return "\n".join(lines)


def _entry(figure: Figure) -> dict[str, object]:
    """Return a figure as JSON holds it."""
    found, bound = figure.spread, figure.bound
    said: dict[str, object] = {
        "section": figure.section,
        "network": figure.network,
        "name": figure.name,
        "unit": figure.unit,
        "median": found.median,
        "quartiles": [found.low, found.high],
        "values": list(figure.values),
        "fastest": figure.fastest,
    }
    said |= {"note": figure.note} if figure.note else {}
    return said if bound is None else said | {"bound": str(bound), "reached": bound.reached(found.median)}

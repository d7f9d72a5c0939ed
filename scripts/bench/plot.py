"""The figures as a picture: a request's stages beside the bare loop, and the judged ratios beside their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from scripts.bench.figures import Bound, Figure
from scripts.bench.profile import DEFAULT, REST, SERVER, STAGES

COLOURS: Mapping[str, str] = {
    "decode": "#c9ced6",
    "preprocess": "#9aa3b0",
    "forward": "#2f6db3",
    "backward": "#7fb0e0",
    "reduce": "#3b8f5a",
    "render": "#a6d49f",
    "encode": "#f2c14e",
    REST: "#8d6cab",
    SERVER: "#d9622b",
}
MARKERS = (("o", "#2f6db3"), ("s", "#3b8f5a"), ("^", "#d9822b"), ("D", "#8d6cab"), ("v", "#5b6770"), ("P", "#b0a02a"))
LOOP = ("decode", "preprocess", "forward", "backward")
INK, BAD, PALE = "#1f2a24", "#c0392b", "#fbeceb"
LINE, PAIR = 0.3, 2.4  # inches a line of the picture; lines that a network's two bars take
WIDTH = 13.0
DODGE = 0.09  # of a line, between the networks in it
TICKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10)
STYLE: Any = {  # matplotlib types the keys one by one
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Line = tuple[str, Bound]


def draw(figures: Sequence[Figure], title: str, path: Path) -> bool:
    """Write the picture as PNG and return whether there was anything to show: profiles, judged ratios, or both."""
    stages, judged = _stages(figures), _judged(figures)
    parts = [(_draw_stages, stages, PAIR * len(stages))] * bool(stages)
    parts += [(_draw_judged, judged, len(judged))] * bool(judged)  # type: ignore[list-item]
    if not parts:
        return False
    heights = [LINE * (lines + 3) for _, _, lines in parts]
    with plt.rc_context(STYLE):
        size = (WIDTH, sum(heights) + 0.5)
        picture, axes = plt.subplots(
            len(parts), 1, figsize=size, height_ratios=heights, squeeze=False, layout="constrained"
        )
        picture.suptitle(title, fontsize=10)
        for panel, (drawing, content, _) in zip(axes[:, 0], parts, strict=True):
            drawing(panel, content)
        picture.savefig(path, dpi=130)
        plt.close(picture)
    return True


def _stages(figures: Sequence[Figure]) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each stage of the default answer, by network."""
    found: dict[str, dict[str, float]] = {}
    for figure in figures:
        request, _, stage = figure.name.partition(": ")
        if figure.section == "profile" and request == DEFAULT:
            found.setdefault(figure.network, {})[stage] = figure.spread.median
    return found


def _judged(figures: Sequence[Figure]) -> dict[Line, list[Figure]]:
    """Return the judged figures of all networks by name and bound."""
    found: dict[Line, list[Figure]] = {}
    for figure in figures:
        if figure.bound:
            found.setdefault((figure.name, figure.bound), []).append(figure)
    return found


def _draw_stages(panel: Any, stages: Mapping[str, Mapping[str, float]]) -> None:
    """Draw two bars a network: what a bare loop must do, and all that a served request does."""
    ticks: dict[float, str] = {}
    for index, (network, taken) in enumerate(stages.items()):
        loop = sum(taken[stage] for stage in LOOP)
        whole = "served" if SERVER in taken else "engine"
        for line, (name, shown) in enumerate({"bare loop": LOOP, whole: (*STAGES, REST, SERVER)}.items()):
            place = PAIR * index + line
            ticks[place] = name if line else f"{network}, {name}"
            _draw_bar(panel, place, {stage: 100 * taken[stage] / loop for stage in shown if stage in taken}, loop)
    panel.set_yticks(list(ticks), list(ticks.values()))
    panel.invert_yaxis()
    panel.set_xlabel("one request's time, in % of its decoding, preprocessing, forward and backward pass")
    panel.axvline(100, color=INK, linewidth=0.8, linestyle=":")
    panel.margins(x=0.08)
    _legend(panel, [Patch(color=colour, label=stage) for stage, colour in COLOURS.items()])


def _draw_bar(panel: Any, place: float, shares: Mapping[str, float], loop: float) -> None:
    """Draw one stacked bar, its milliseconds at the end."""
    left = 0.0
    for stage, share in shares.items():
        panel.barh(place, max(share, 0), left=left, height=0.86, color=COLOURS[stage])
        left += max(share, 0)
    panel.annotate(
        f"{left * loop / 100:,.1f} ms", (left, place), (4, 0), textcoords="offset points", va="center", fontsize=8
    )


def _draw_judged(panel: Any, judged: Mapping[Line, Sequence[Figure]]) -> None:
    """Draw each median and its quartiles as a share of the bound."""
    networks = list(dict.fromkeys(figure.network for row in judged.values() for figure in row))
    styles = {network: MARKERS[index % len(MARKERS)] for index, network in enumerate(networks)}
    for line, ((_, bound), row) in enumerate(judged.items()):
        _draw_row(panel, line, bound, row, styles)
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    low, high = min(low, 0.5), max(high, 1.5)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    panel.set_xlim(low, high)
    panel.axvspan(1, high, color=PALE, zorder=0)
    panel.axvline(1, color=INK, linewidth=0.8)
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xticks([], minor=True)
    panel.set_yticks(range(len(judged)), [f"{name}   {bound}" for name, bound in judged])
    panel.set_ylim(len(judged) - 0.5, -0.5)
    panel.grid(axis="both", linewidth=0.3)
    panel.set_axisbelow(True)
    panel.set_xlabel("share of the bound that is used up: 1 is the bound, and right of it, it is missed")
    shown = {n: Line2D([], [], linestyle="", marker=m, color=c, label=n) for n, (m, c) in styles.items()}
    _legend(panel, list(shown.values()))


def _draw_row(
    panel: Any, line: int, bound: Bound, row: Sequence[Figure], styles: Mapping[str, tuple[str, str]]
) -> None:
    """Draw a row's medians and quartiles, and at its end the values that miss the bound."""
    for index, figure in enumerate(row):
        marker, colour = styles[figure.network]
        place = line + (index - (len(row) - 1) / 2) * DODGE
        low, middle, high = (
            bound.share(value) for value in (figure.spread.low, figure.spread.median, figure.spread.high)
        )
        panel.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.4, solid_capstyle="butt")
        panel.plot(middle, place, marker, color=colour, markersize=5)
    medians = sorted((figure.spread.median for figure in row), key=bound.share)
    digits = 0 if row[0].unit == "bytes" else 3
    missed = ", ".join(bound.shown(median, digits) for median in medians if not bound.reached(median))
    panel.annotate(missed, (1.01, line), xycoords=("axes fraction", "data"), va="center", fontsize=7.5, color=BAD)


def _legend(panel: Any, handles: Sequence[Patch | Line2D]) -> None:
    """Put a legend in one row above a panel."""
    panel.legend(
        handles=handles,
        ncols=len(handles),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        frameon=False,
        fontsize=8,
        columnspacing=1.2,
        handlelength=1.2,
    )

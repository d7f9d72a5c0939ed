"""Plot the stages of a request next to the bare loop, and the figures with a bound relative to their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tools.benchmark.measurements import Bound, Figure
from tools.benchmark.profile import DEFAULT, REST, SERVER, STAGES

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
LINE, PAIR = 0.3, 2.4  # inches per line; lines per network with its two bars
WIDTH = 13.0
DODGE = 0.09  # lines between the markers of two networks
TICKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10)
STYLE: Any = {  # Any, because matplotlib types every key of rcParams
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Line = tuple[str, Bound]


def draw(figures: Sequence[Figure], title: str, path: Path) -> bool:
    """Write the plot as PNG. Return whether there were any figures to plot; if not, no file is written."""
    stages, bounded = _stages(figures), _bounded(figures)
    parts = [(_draw_stages, stages, PAIR * len(stages))] * bool(stages)
    parts += [(_draw_bounded, bounded, len(bounded))] * bool(bounded)  # type: ignore[list-item]
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
    stages: dict[str, dict[str, float]] = {}
    for figure in figures:
        request, _, stage = figure.name.partition(": ")
        if figure.section == "profile" and request == DEFAULT:
            stages.setdefault(figure.network, {})[stage] = figure.quartiles.median
    return stages


def _bounded(figures: Sequence[Figure]) -> dict[Line, list[Figure]]:
    """Return the figures with a bound, by name and bound."""
    lines: dict[Line, list[Figure]] = {}
    for figure in figures:
        if figure.bound:
            lines.setdefault((figure.name, figure.bound), []).append(figure)
    return lines


def _draw_stages(panel: Any, stages: Mapping[str, Mapping[str, float]]) -> None:
    """Draw two bars per network: the stages of the bare loop, and those of a served request."""
    ticks: dict[float, str] = {}
    for index, (network, times) in enumerate(stages.items()):
        loop = sum(times[stage] for stage in LOOP)
        whole = "served" if SERVER in times else "engine"
        for line, (name, shown) in enumerate({"bare loop": LOOP, whole: (*STAGES, REST, SERVER)}.items()):
            place = PAIR * index + line
            ticks[place] = name if line else f"{network}, {name}"
            _draw_bar(panel, place, {stage: 100 * times[stage] / loop for stage in shown if stage in times}, loop)
    panel.set_yticks(list(ticks), list(ticks.values()))
    panel.invert_yaxis()
    panel.set_xlabel("time of a request in % of decoding, preprocessing, forward and backward pass")
    panel.axvline(100, color=INK, linewidth=0.8, linestyle=":")
    panel.margins(x=0.08)
    _legend(panel, [Patch(color=colour, label=stage) for stage, colour in COLOURS.items()])


def _draw_bar(panel: Any, place: float, shares: Mapping[str, float], loop: float) -> None:
    """Draw one stacked bar with its milliseconds at the end."""
    left = 0.0
    for stage, share in shares.items():
        panel.barh(place, max(share, 0), left=left, height=0.86, color=COLOURS[stage])
        left += max(share, 0)
    panel.annotate(
        f"{left * loop / 100:,.1f} ms", (left, place), (4, 0), textcoords="offset points", va="center", fontsize=8
    )


def _draw_bounded(panel: Any, bounded: Mapping[Line, Sequence[Figure]]) -> None:
    """Draw the median and the quartiles of each figure relative to its bound."""
    networks = list(dict.fromkeys(figure.network for row in bounded.values() for figure in row))
    styles = {network: MARKERS[index % len(MARKERS)] for index, network in enumerate(networks)}
    for line, ((_, bound), row) in enumerate(bounded.items()):
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
    panel.set_yticks(range(len(bounded)), [f"{name}   {bound}" for name, bound in bounded])
    panel.set_ylim(len(bounded) - 0.5, -0.5)
    panel.grid(axis="both", linewidth=0.3)
    panel.set_axisbelow(True)
    panel.set_xlabel("value relative to the bound: 1 is the bound, values above 1 miss it")
    shown = {n: Line2D([], [], linestyle="", marker=m, color=c, label=n) for n, (m, c) in styles.items()}
    _legend(panel, list(shown.values()))


def _draw_row(
    panel: Any, line: int, bound: Bound, row: Sequence[Figure], styles: Mapping[str, tuple[str, str]]
) -> None:
    """Draw the medians and quartiles of a row, and at its end the values that miss the bound."""
    for index, figure in enumerate(row):
        marker, colour = styles[figure.network]
        place = line + (index - (len(row) - 1) / 2) * DODGE
        low, middle, high = (
            bound.share(value) for value in (figure.quartiles.low, figure.quartiles.median, figure.quartiles.high)
        )
        panel.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.4, solid_capstyle="butt")
        panel.plot(middle, place, marker, color=colour, markersize=5)
    medians = sorted((figure.quartiles.median for figure in row), key=bound.share)
    digits = 0 if row[0].unit == "bytes" else 3
    missed = ", ".join(bound.format(median, digits) for median in medians if not bound.reached(median))
    panel.annotate(missed, (1.01, line), xycoords=("axes fraction", "data"), va="center", fontsize=7.5, color=BAD)


def _legend(panel: Any, handles: Sequence[Patch | Line2D]) -> None:
    """Draw a legend in one row above a panel."""
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

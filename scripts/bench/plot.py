"""The figures as a picture: a request's stages beside the bare loop, and the judged ratios beside their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import Patch

from scripts.bench.figures import Figure
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
LOOP = ("decode", "preprocess", "forward", "backward")
INK, GOOD, BAD = "#1f2a24", "#2e7d4f", "#c0392b"
LINE = 0.34  # inches a line of the picture
WIDTH = 13.0


def draw(figures: Sequence[Figure], title: str, path: Path) -> bool:
    """Write the picture as PNG and return whether there was anything to show: profiles, judged ratios, or both."""
    stages, judged = _stages(figures), [figure for figure in figures if figure.bound]
    heights = [LINE * (2.4 * len(stages) + 3)] * bool(stages) + [LINE * (len(judged) + 3)] * bool(judged)
    if not heights:
        return False
    with plt.rc_context({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.spines.top": False}):
        picture, axes = plt.subplots(
            len(heights),
            1,
            figsize=(WIDTH, sum(heights) + 0.8),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        picture.suptitle(title, fontsize=10)
        panels = list(axes[:, 0])
        if stages:
            _draw_stages(panels.pop(0), stages)
        if judged:
            _draw_judged(panels.pop(0), judged)
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


def _draw_stages(panel: Any, stages: Mapping[str, Mapping[str, float]]) -> None:
    """Draw two bars a network: what a bare loop must do, and all that a served request does."""
    ticks: dict[float, str] = {}
    for index, (network, taken) in enumerate(stages.items()):
        loop = sum(taken[stage] for stage in LOOP)
        for line, (name, shown) in enumerate({"bare loop": LOOP, "served": (*STAGES, REST, SERVER)}.items()):
            place = 2.4 * index + line
            ticks[place] = f"{network}, {name}" if line == 0 else name
            _draw_bar(panel, place, {s: 100 * taken[s] / loop for s in shown if s in taken}, loop)
    panel.set_yticks(list(ticks), list(ticks.values()))
    panel.invert_yaxis()
    panel.set_xlabel("time, in per cent of decoding, preprocessing, forward and backward")
    panel.axvline(100, color=INK, linewidth=0.8, linestyle=":")
    handles = [Patch(color=colour) for colour in COLOURS.values()]
    panel.legend(
        handles, list(COLOURS), ncols=len(COLOURS), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=8
    )
    panel.margins(x=0.08)


def _draw_bar(panel: Any, place: float, shares: Mapping[str, float], loop: float) -> None:
    """Draw one stacked bar, its milliseconds at the end."""
    left = 0.0
    for stage, share in shares.items():
        panel.barh(place, max(share, 0), left=left, height=0.86, color=COLOURS[stage])
        left += max(share, 0)
    panel.text(left + 1, place, f"{left * loop / 100:,.1f} ms", va="center", fontsize=8)


def _draw_judged(panel: Any, judged: Sequence[Figure]) -> None:
    """Draw each judged median and its quartiles as a share of the bound, so that left of 1 is reached."""
    for line, figure in enumerate(judged):
        assert figure.bound
        limit, found = figure.bound.limit, figure.spread
        low, middle, high = sorted(
            limit / v if figure.bound.at_least else v / limit for v in (found.low, found.median, found.high)
        )
        colour = GOOD if figure.bound.reached(found.median) else BAD
        panel.plot([low, high], [line, line], color=colour, linewidth=3, alpha=0.4, solid_capstyle="butt")
        panel.plot(middle, line, "o", color=colour, markersize=5)
        digits = 0 if figure.unit == "bytes" else 3
        said = f"{figure.bound.shown(found.median, digits)}  ({figure.bound})"
        panel.annotate(said, (1.01, line), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=colour)
    panel.axvline(1, color=INK, linewidth=0.8)
    panel.set_yticks(range(len(judged)), [f"{figure.name} · {figure.network}" for figure in judged], fontsize=8)
    panel.set_ylim(len(judged) - 0.5, -0.5)
    panel.set_xscale("log")
    panel.set_xlabel("share of the bound that is used: reached left of the line")
    panel.grid(axis="x", which="both", linewidth=0.3)

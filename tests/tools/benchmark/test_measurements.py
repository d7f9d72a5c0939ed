"""Bounds are checked on exact values, and rounding never makes a value look better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tools.benchmark import measurements as named
from tools.benchmark.latency import SERVED_RATIOS
from tools.benchmark.measurements import BOUNDS, Bound, Figure
from tools.benchmark.networks import NETWORKS
from tools.benchmark.plot import draw
from tools.benchmark.profile import DEFAULT, REST, SERVER, STAGES
from tools.benchmark.reference_implementations import LIBRARY_METHODS
from tools.benchmark.report import as_json, bounds_table, format_figure, markdown


def cells(table: str) -> list[list[str]]:
    """Return the cells of the rows of Markdown tables."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def explanation_ratio(value: float = 1.0800001) -> Figure:
    return Figure("latency", "resnet50", named.EXPLANATION, "ratio", (value,))


def test_a_bound_missed_by_a_small_amount_is_reported_as_missed() -> None:
    assert cells(bounds_table([explanation_ratio()]))[-1][2:] == ["1.081", "", "≤ 1.08", "**no**"]
    assert cells(bounds_table([explanation_ratio(1.08)]))[-1][2:] == ["1.080", "", "≤ 1.08", "yes"]


def test_the_fastest_runs_are_shown_but_do_not_decide() -> None:
    figure = Figure("latency", "resnet50", named.EXPLANATION, "ratio", (1.2,), fastest=1.0701)
    assert cells(bounds_table([figure]))[-1][2:] == ["1.200", "1.071", "≤ 1.08", "**no**"]


def test_a_value_with_a_lower_bound_is_rounded_down() -> None:
    bound = Bound(0.9, at_least=True)
    assert not bound.reached(0.8999)
    assert bound.reached(0.9)
    assert (bound.format(0.8999), Bound(0.9).format(0.9001)) == ("0.899", "0.901")


def test_every_bound_belongs_to_a_measured_figure_and_network() -> None:
    ratios = {*SERVED_RATIOS, named.SATURATION, named.ANSWER, named.PAGE, named.PAGE_MAP, named.PAGE_FILES}
    ratios |= {name(method) for method in LIBRARY_METHODS for name in (named.library_ratio, named.memory_ratio)}
    assert {name for _, name in BOUNDS} <= ratios
    assert {network for network, _ in BOUNDS} <= {*NETWORKS, named.ANY}


def test_a_bound_for_all_networks_applies_to_each() -> None:
    assert Figure("latency", "vit_b_16", named.PREDICTION, "ratio", (1.0,)).bound == Bound(0.95)
    assert Figure("latency", "vit_b_16", named.EXPLANATION, "ratio", (1.0,)).bound is None


def test_a_formatted_figure_has_median_and_quartiles() -> None:
    assert format_figure(Figure("latency", "x", "a run", "ms", (1.0, 2.0, 3.0))) == "2.0 [1.5, 2.5]"
    assert format_figure(Figure("latency", "x", "an answer", "bytes", (42911.0,))) == "42,911"


def test_figures_with_a_bound_come_before_the_tables() -> None:
    text = markdown({"cores": 2}, [Figure("latency", "resnet50", "bare loop", "ms", (75.0,)), explanation_ratio()])
    assert text.startswith("cores 2.")
    assert text.index("**no**") < text.index("| bare loop |")
    assert ["bare loop", "75.0"] in cells(text)


@pytest.mark.parametrize(("load", "warning"), [("0.4", False), ("1.4", True)])
def test_a_busy_machine_gives_a_warning(load: str, warning: bool) -> None:
    assert ("Warning" in markdown({"cores": 2, "load before": load}, [explanation_ratio()])) is warning


def test_json_has_every_value_and_the_result() -> None:
    report = json.loads(as_json({"cores": 2}, [explanation_ratio(), Figure("latency", "x", "run", "ms", (1.0, 3.0))]))
    assert [entry.get("reached") for entry in report["figures"]] == [False, None]
    assert report["figures"][1]["values"] == [1.0, 3.0]
    assert report["settings"] == {"cores": 2}


def test_a_plot_shows_stages_and_figures_with_a_bound(tmp_path: Path) -> None:
    stages = [Figure("profile", "resnet50", f"{DEFAULT}: {stage}", "ms", (2.0,)) for stage in (*STAGES, REST, SERVER)]
    sizes = []
    for figures in (stages, [explanation_ratio()], [*stages, explanation_ratio()]):
        assert draw(figures, "title", tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            sizes.append(picture.height)
    assert max(sizes) == sizes[2]


def test_without_figures_there_is_no_plot(tmp_path: Path) -> None:
    assert not draw([], "title", tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "reached"), [(60_000.0, True), (60_001.0, False)])
def test_an_answer_may_have_at_most_60_000_bytes(value: float, reached: bool) -> None:
    bound = Figure("latency", "resnet50", named.ANSWER, "bytes", (value,)).bound
    assert bound is not None
    assert bound.reached(value) is reached

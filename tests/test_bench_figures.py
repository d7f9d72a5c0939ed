"""Bounds are judged on the values themselves, and shown so that rounding never helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from scripts.bench import figures as named
from scripts.bench.figures import BOUNDS, Bound, Figure
from scripts.bench.latency import SERVED_RATIOS
from scripts.bench.networks import NETWORKS
from scripts.bench.plot import draw
from scripts.bench.profile import DEFAULT, REST, SERVER, STAGES
from scripts.bench.report import as_json, cell, judgement, markdown
from scripts.bench.rivals import RIVALS


def missed(value: float = 1.0800001) -> Figure:
    return Figure("latency", "resnet50", named.EXPLANATION, "ratio", (value,))


def test_a_bound_missed_by_a_hair_is_missed_and_shown_so() -> None:
    assert "1.081 |  | ≤ 1.08 | **no**" in judgement([missed()])
    assert "1.080 |  | ≤ 1.08 | yes" in judgement([missed(1.08)])


def test_the_fastest_runs_stand_beside_the_median_and_do_not_judge() -> None:
    figure = Figure("latency", "resnet50", named.EXPLANATION, "ratio", (1.2,), fastest=1.0701)
    assert "1.200 | 1.071 | ≤ 1.08 | **no**" in judgement([figure])


def test_at_least_is_rounded_down() -> None:
    bound = Bound(0.9, at_least=True)
    assert not bound.reached(0.8999)
    assert bound.reached(0.9)
    assert (bound.shown(0.8999), Bound(0.9).shown(0.9001)) == ("0.899", "0.901")


def test_every_bound_is_of_a_figure_and_network_that_are_measured() -> None:
    ratios = {*SERVED_RATIOS, named.SATURATION, named.ANSWER}
    ratios |= {name(method) for method in RIVALS for name in (named.beside_library, named.memory_beside_library)}
    assert {name for _, name in BOUNDS} <= ratios
    assert {network for network, _ in BOUNDS} <= {*NETWORKS, named.ANY}


def test_a_bound_of_all_networks_holds_for_each() -> None:
    assert Figure("latency", "vit_b_16", named.PREDICTION, "ratio", (1.0,)).bound == Bound(0.95)
    assert Figure("latency", "vit_b_16", named.EXPLANATION, "ratio", (1.0,)).bound is None


def test_a_cell_has_median_and_quartiles() -> None:
    assert cell(Figure("latency", "x", "a run", "ms", (1.0, 2.0, 3.0))) == "2.0 [1.5, 2.5]"
    assert cell(Figure("latency", "x", "an answer", "bytes", (42911.0,))) == "42,911"


def test_the_ratios_that_are_judged_come_before_the_tables() -> None:
    text = markdown({"cores": 2}, [Figure("latency", "resnet50", "bare loop", "ms", (75.0,)), missed()])
    assert text.startswith("cores 2.")
    assert text.index("**no**") < text.index("| bare loop | 75.0 |")


@pytest.mark.parametrize(("load", "beware"), [("0.4", False), ("1.4", True)])
def test_a_busy_machine_is_told_of(load: str, beware: bool) -> None:
    assert ("Beware" in markdown({"cores": 2, "load before": load}, [missed()])) is beware


def test_json_holds_every_value_and_the_verdict() -> None:
    said = json.loads(as_json({"cores": 2}, [missed(), Figure("latency", "x", "run", "ms", (1.0, 3.0))]))
    assert [entry.get("reached") for entry in said["figures"]] == [False, None]
    assert said["figures"][1]["values"] == [1.0, 3.0]
    assert said["settings"] == {"cores": 2}


def test_a_plot_shows_stages_and_judged_ratios(tmp_path: Path) -> None:
    stages = [Figure("profile", "resnet50", f"{DEFAULT}: {stage}", "ms", (2.0,)) for stage in (*STAGES, REST, SERVER)]
    sizes = []
    for figures in (stages, [missed()], [*stages, missed()]):
        assert draw(figures, "title", tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            sizes.append(picture.height)
    assert max(sizes) == sizes[2]


def test_nothing_to_show_is_no_plot(tmp_path: Path) -> None:
    assert not draw([], "title", tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "reached"), [(60_000.0, True), (60_001.0, False)])
def test_an_answer_may_have_60_000_bytes(value: float, reached: bool) -> None:
    bound = Figure("latency", "resnet50", named.ANSWER, "bytes", (value,)).bound
    assert bound is not None
    assert bound.reached(value) is reached

"""The report of the section methods: one row per method and library, ratios, and errors of libraries."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from torch import Tensor, nn

from tests.networks import made
from tests.tools.benchmark.test_methods import Separate, bench
from tools.benchmark.comparison import ENGINE
from tools.benchmark.measurements import Figure
from tools.benchmark.method_table import forward_ratio
from tools.benchmark.methods import methods
from tools.benchmark.plan import Bench
from tools.benchmark.reference_implementations import CAPTUM, GRAD_CAM
from tools.benchmark.report import as_json, markdown


def cells(text: str) -> list[list[str]]:
    """Return the cells of the rows of a Markdown table."""
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]


def figures_of(given: Bench, make: type[nn.Module] = Separate) -> list[Figure]:
    """Return the section's figures."""
    with mock.patch("tools.benchmark.methods.plain_network", return_value=made(make)):
        return list(methods(given))


def test_the_report_has_one_row_per_method_and_library(tmp_path: Path) -> None:
    requested = ("gradient", "rise", "grad_cam", "occlusion")
    figures = figures_of(bench(tmp_path, requested=requested))
    text = markdown({"cores": 2}, figures)
    header, _, *rows = cells(text)
    assert sorted(row[:2] for row in rows) == [
        ["grad_cam", CAPTUM],
        ["grad_cam", GRAD_CAM],
        ["gradient", CAPTUM],
        ["occlusion", CAPTUM],
        ["rise", ""],
    ]
    ratios = ("engine / forward", "library / forward", "engine / library")
    assert header[2:8] == [f"{ratio}, {size}" for size in (1, 8) for ratio in ratios]
    assert {row[0]: row[-1] for row in rows}["rise"] == "samples 16"
    assert {row[0]: row[-1] for row in rows}["occlusion"] == "window 4, stride 4"
    entries = {entry["name"]: entry for entry in json.loads(as_json({}, figures))["figures"]}
    assert len(entries) == len(figures)
    assert entries[forward_ratio("rise", ENGINE, 8)]["note"] == "samples 16"
    assert all(
        len(entries[forward_ratio(method, ENGINE, size)]["values"]) == 2 for method in requested for size in (1, 8)
    )


def test_a_ratio_is_computed_within_a_round(tmp_path: Path) -> None:
    values = {figure.name: figure.values for figure in figures_of(bench(tmp_path, requested=("gradient",)))}
    ours, theirs, forward = (values[f"gradient, batch of 8: {name}"] for name in (ENGINE, CAPTUM, "forward"))
    over_forward = values[forward_ratio("gradient", ENGINE, 8)]
    over_library = values["gradient, batch of 8: engine / Captum"]
    assert over_forward == pytest.approx([a / b for a, b in zip(ours, forward, strict=True)])
    assert over_library == pytest.approx([a / b for a, b in zip(ours, theirs, strict=True)])


def test_the_error_of_a_library_is_reported_and_the_engine_is_measured(tmp_path: Path) -> None:
    class Broken(Separate):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("a module is used twice\nand more")

    given = bench(tmp_path, requested=("deep_lift",))
    (row,) = [row for row in cells(markdown({"cores": 2}, figures_of(given, Broken))) if row[0] == "deep_lift"]
    assert row[1] == ""
    assert row[-1] == "Captum fails: AssertionError: a module is used twice"

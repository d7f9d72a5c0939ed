"""The benchmark: rounds that alternate, ratios of neighbouring runs, and a refusal of what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmark import RATIOS, main, measured, picture, summary


def test_every_run_is_in_every_round_and_the_order_changes() -> None:
    calls: list[str] = []
    names = ("a", "b", "c")
    seconds = measured({name: lambda name=name: calls.append(name) for name in names}, rounds=9)  # type: ignore[misc]
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert all(sorted(each) == sorted(names) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 2
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys(names, 9)


def test_the_median_and_quartiles_are_printed() -> None:
    assert summary([1.0, 2.0, 3.0]).split() == ["2.000", "[1.000,", "3.000]"]


def test_the_ratios_are_of_runs_that_are_measured() -> None:
    runs = {name for pair in RATIOS.values() for name in pair}
    assert {"bare loop + decoding", "served explanation", "default explanation"} <= runs


def test_a_picture_is_drawn_where_none_is_named() -> None:
    assert picture(None)[:2] == b"\xff\xd8"


def test_what_is_not_there_exits_with_2(tmp_path: Path) -> None:
    assert main(["--arch", "resnet51"]) == 2
    for words in (["--picture", str(tmp_path / "none.jpg")], ["--rounds", "1"]):
        with pytest.raises(SystemExit) as refusal:
            main(words)
        assert refusal.value.code == 2

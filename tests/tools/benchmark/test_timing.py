"""Rounds in changing order, warm-up, ratios and quartiles."""

from __future__ import annotations

import time

import pytest

from tools.benchmark.timing import Run, quartiles, ratios, time_runs


def recording(calls: list[str], name: str) -> Run:
    def run() -> None:
        calls.append(name)

    return run


def test_every_run_is_in_every_round_and_the_order_changes() -> None:
    calls: list[str] = []
    names = ("a", "b", "c")
    seconds = time_runs({name: recording(calls, name) for name in names}, rounds=9)
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == 11
    assert all(sorted(each) == sorted(names) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 2
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys(names, 9)


def test_the_time_of_a_run_is_measured() -> None:
    def run() -> None:
        time.sleep(0.02)

    (elapsed,) = time_runs({"run": run}, rounds=1, warm_up=0)["run"]
    assert 0.02 <= elapsed < 2


def test_a_run_may_return_its_own_time() -> None:
    assert time_runs({"run": lambda: 42.0}, rounds=2, warm_up=1) == {"run": (42.0, 42.0)}


def test_ratios_are_computed_within_a_round() -> None:
    assert ratios({"a": (1.0, 4.0), "b": (2.0, 2.0)}, "a", "b") == (0.5, 2.0)


def test_quartiles() -> None:
    found = quartiles([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]).median == quartiles([7.0]).high == 7.0


def test_ratios_of_unequal_rounds_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios({"a": (1.0,), "b": (2.0, 2.0)}, "a", "b")

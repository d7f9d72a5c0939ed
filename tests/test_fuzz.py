"""Fuzzing's own parts: its seeds and what it says of a run; the fuzzer itself is no part of the tests' environment."""

from __future__ import annotations

import pytest

from scripts.bootstrap import requirements
from scripts.fuzz import SEEDS, main, summary


@pytest.mark.parametrize("target", SEEDS)
def test_seeds_are_many_and_not_empty(target: str) -> None:
    seeds = set(SEEDS[target]())
    assert len(seeds) > 100
    assert max(map(len, seeds)) > 100


def test_a_run_is_summed_up() -> None:
    log = "#9 INITED cov: 12 ft: 3\n#10 NEW cov: 15 ft: 4\nstat::number_of_executed_units: 1234\n"
    assert summary(log) == "1,234 executions, coverage 12 to 15"
    assert "not run to its end" in summary("ImportError")


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "many"])
def test_seconds_are_a_whole_number(seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seconds", seconds])
    assert ended.value.code == 2


def test_the_ordinary_environment_does_without_the_fuzzer() -> None:
    assert not any("atheris" in requirement for requirement in requirements())
    assert any("atheris" in requirement for requirement in requirements(("fuzz",)))

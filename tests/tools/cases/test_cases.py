"""Each input of the table of cases gives the right answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cases.__main__ import main
from tools.cases.case import Case, SkippedCaseError
from tools.cases.sections import CASES
from tools.cases.workshop import Workshop


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
def test_an_input_from_the_field_gives_the_right_answer(case: Case, tmp_path: Path) -> None:
    try:
        answer = case.run(Workshop(tmp_path))
    except SkippedCaseError as error:
        pytest.skip(str(error))
    assert answer


def test_numbers_are_unique_and_in_order() -> None:
    numbers = [(case.number[0], int(case.number[1:].split(".")[0]), case.number) for case in CASES]
    assert numbers == sorted(set(numbers))


def test_an_unknown_number_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["Z9"])
    assert exit_.value.code == 2
    assert "Z9" in capsys.readouterr().err

"""The fuzzer's seeds, input format and summary. atheris itself is not part of the test environment."""

from __future__ import annotations

import pytest
from bootstrap import requirements

from tools.fuzz.__main__ import SEEDS, main, summary
from tools.fuzz.inputs import PICTURE, InputFlag, message


@pytest.mark.parametrize("target", SEEDS)
def test_there_are_many_seeds_and_some_are_long(target: str) -> None:
    seeds = set(SEEDS[target]())
    assert len(seeds) > 100
    assert max(map(len, seeds)) > 100


def test_every_seed_is_a_message() -> None:
    messages = [message(seed) for seed in SEEDS["request"]()]
    assert {each.explain for each in messages} == {True, False}
    assert any(each.json_length for each in messages)
    assert any(each.fields.get("data") == PICTURE for each in messages)


@pytest.mark.parametrize(
    ("flags", "body", "fields"),
    [
        (InputFlag(0), b"[1]", {"body": [1]}),
        (InputFlag(0), b"\xff", {"body": bytearray(b"\xff")}),
        (InputFlag.PICTURE, b'{"a": 1}', {"body": {"data": {"b64": ""}, "a": 1}}),
        (InputFlag.PICTURE, b"[1]", {"body": [1]}),
        (InputFlag.FORM, b"a=1\0b=2=3", {"a": b"1", "b": b"2=3"}),
        (InputFlag.FORM | InputFlag.PICTURE, b"a=1", {"data": PICTURE, "a": b"1"}),
        (InputFlag.BINARY | InputFlag.FORM, b"a=1", {"body": bytearray(b"a=1")}),
    ],
)
def test_flags_choose_the_form_of_the_body(flags: InputFlag, body: bytes, fields: dict[str, object]) -> None:
    assert message(bytes([flags]) + b"\n\n" + body).fields == fields


def test_flags_choose_route_and_content_type() -> None:
    read = message(bytes([InputFlag.EXPLAIN | InputFlag.JSON]) + b"target=1\nimage/png\n{}")
    assert (read.explain, read.content_type, read.accept, read.path_options) == (
        True,
        "application/json",
        "image/png",
        "target=1",
    )


def test_any_bytes_are_a_message() -> None:
    assert not message(b"").explain
    assert all(message(bytes([first]) + b"\n") for first in range(256))


def test_the_summary_has_executions_and_coverage() -> None:
    log = "#9 INITED cov: 12 ft: 3\n#10 NEW cov: 15 ft: 4\nstat::number_of_executed_units: 1234\n"
    assert summary(log) == "1,234 executions, coverage 12 to 15"
    assert "did not finish" in summary("ImportError")


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "many"])
def test_seconds_must_be_a_positive_integer(seconds: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--seconds", seconds])
    assert error.value.code == 2


def test_the_fuzzer_is_not_a_default_requirement() -> None:
    assert not any("atheris" in requirement for requirement in requirements())
    assert any("atheris" in requirement for requirement in requirements(("fuzz",)))

"""The contract check reports every violation and accepts every valid response."""

from __future__ import annotations

import json

import pytest

from tools.corpus.contract import faults

JSON = {"Content-Type": "application/json"}


def error(code: int = 400, **more: object) -> dict[str, object]:
    return {"code": code, "type": "BadOptionException", "message": "no", **more}


def json_faults(status: int, content: object, headers: dict[str, str] = JSON) -> list[str]:
    return faults(status, json.dumps(content).encode(), headers, 10_000)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"cat": 0.5}),
        (400, error()),
        (400, error(option="target")),
        (422, {"explanations": [error(422), error(400)]}),
        (200, {"predictions": [error(415), {"cat": 0.5}]}),
    ],
)
def test_a_valid_response_has_no_faults(status: int, content: object) -> None:
    assert json_faults(status, content) == []


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (400, error(422)),
        (400, error(more=1)),
        (400, error(option=3)),
        (400, error(message="Traceback (most recent call last)")),
        (400, error(message="")),
        (400, "no"),
        (502, error(503)),
        (400, {"explanations": []}),
        (400, {"explanations": [error(422), error(400)]}),
        (400, {"explanations": [error(400), error(200)]}),
        (200, {"explanations": [error(400)]}),
        (200, {"explanations": [{"cat": 1}, error(200)]}),
    ],
)
def test_a_violation_of_the_contract_is_reported(status: int, content: object) -> None:
    assert json_faults(status, content)


def test_headers_and_length_are_checked() -> None:
    for headers in ({}, {**JSON, "content-type": "image/png"}, {**JSON, "X": "a\nb"}, {**JSON, "X": "é"}):
        assert json_faults(200, {}, headers)
    assert json_faults(200, {"cat": "x" * 10_000})
    assert faults(400, b"<html>", JSON, 10_000)

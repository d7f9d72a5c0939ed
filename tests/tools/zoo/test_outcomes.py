"""The cell of a response, and the check of a refusal's reason."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.zoo.outcomes import BAD, GOOD, REFUSED, Cell, cell_of, check_refusal


def npy(values: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def error(message: str) -> bytes:
    return json.dumps({"code": 0, "type": "X", "message": message}).encode()


RAMP = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason"),
    [
        (200, npy(RAMP), GOOD, ""),
        (200, npy(RAMP * np.float32("nan")), BAD, "not finite"),
        (200, npy(RAMP + np.float32("inf")), BAD, "not finite"),
        (200, npy(RAMP * 0), BAD, "constant: 0 everywhere"),
        (200, npy(RAMP * 0 + 3), BAD, "constant: 3 everywhere"),
        (200, npy(np.concatenate([RAMP * 0, RAMP])), GOOD, ""),
        (422, error("needs ReLUs"), REFUSED, "needs ReLUs"),
        (500, error("a defect"), BAD, "500: a defect; KeyError: 'x'"),
        (400, error("no such option"), BAD, "400: no such option; KeyError: 'x'"),
        (507, b"<html>", BAD, "507: b'<html>'; KeyError: 'x'"),
    ],
)
def test_a_response_gives_a_cell(status: int, body: bytes, outcome: str, reason: str) -> None:
    assert cell_of(status, body, ["KeyError: 'x'"]) == Cell(outcome, reason)


def test_a_refusal_with_a_false_reason_is_bad() -> None:
    refused = Cell(REFUSED, "'guided_backprop' needs ReLUs, and this network has none")
    assert check_refusal(refused, [], ["layer4"]) == refused
    assert check_refusal(refused, ["relu"], []).outcome == BAD
    flat = Cell(REFUSED, "'grad_cam' needs a layer with spatial extent, and this network has none")
    assert check_refusal(flat, ["relu"], []) == flat
    assert "the network has 'layer4'" in check_refusal(flat, [], ["layer4"]).reason
    assert check_refusal(Cell(GOOD), ["relu"], ["layer4"]) == Cell(GOOD)

"""The network's pace: the fewest seconds that a row was seen to take."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from saliency.pace import Pace


class Busy:
    """A network beside a neighbour that is busy at first."""

    def __init__(self, pauses: list[float]) -> None:
        self.pauses = pauses

    def __call__(self, x: Tensor) -> Tensor:
        time.sleep(self.pauses.pop(0) if self.pauses else 0)
        return x.flatten(1).sum(1, keepdim=True)


def test_the_pace_is_that_of_the_shortest_pass() -> None:
    pace = Pace(Busy([0.4, 0.03, 0.4, 0.05]), torch.zeros(1, 3, 4, 4))
    assert 0.03 <= pace.forward < 0.4
    assert 0.01 <= pace.backward < 0.4


def test_what_was_slow_is_measured_again_before_it_is_held_against_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace(Busy([1, 1, 1, 1]), torch.zeros(1, 3, 4, 4))
    assert pace.seconds(10, 0, allowed=5) >= 10  # it has only just been measured
    monkeypatch.setattr("saliency.pace.PATIENCE", 0.0)
    assert pace.seconds(1, 0, allowed=5) >= 1  # allowed: nothing is measured
    assert pace.seconds(10, 0, allowed=5) < 5

"""The time per pass: the shortest measured time, measured again on request."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from torchserve_saliency.model.acceleration.time_per_pass import TimePerPass


class Busy:
    """A network whose first passes are slowed by other work on the machine."""

    def __init__(self, pauses: list[float]) -> None:
        self.pauses = pauses

    def __call__(self, x: Tensor) -> Tensor:
        time.sleep(self.pauses.pop(0) if self.pauses else 0)
        return x.flatten(1).sum(1, keepdim=True)


def test_the_shortest_pass_counts() -> None:
    measured = TimePerPass(Busy([0.4, 0.03, 0.4, 0.05]), torch.zeros(1, 3, 4, 4))
    assert 0.03 <= measured.forward < 0.4
    assert 0.01 <= measured.backward < 0.4


def test_a_measurement_is_repeated_once_it_is_old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = TimePerPass(Busy([1, 1, 1, 1]), torch.zeros(1, 3, 4, 4))
    measured.refresh()
    assert measured.forward >= 1
    monkeypatch.setattr("torchserve_saliency.model.acceleration.time_per_pass.MIN_AGE", 0.0)
    measured.refresh()
    assert measured.forward < 0.5

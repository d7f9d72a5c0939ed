"""Scores and their gradients, against decimal arithmetic and finite differences."""

from __future__ import annotations

from decimal import Decimal, getcontext

import pytest
import torch
from torch import Tensor

from torchserve_saliency.engine.objective import SCORES, Class, Objective, Rank, evaluate
from torchserve_saliency.errors import RequestError
from torchserve_saliency.requests.target_options import RUNNER_UP

LOGITS = torch.tensor([1.5, -0.3, 2.0, 0.1])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("against", [-1, 2])
def test_the_gradient_equals_finite_differences(score: str, against: int) -> None:
    value, gradient = evaluate(LOGITS, (0, against), score)
    for i in range(len(LOGITS)):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-6
        up, down = (evaluate(LOGITS.double() + s, (0, against), score)[0] for s in (step, -step))
        assert (up - down) / 2e-6 == pytest.approx(float(gradient[i]), abs=1e-8)
    assert value == pytest.approx((evaluate(LOGITS, (0, -1), score)[0]) - _score_of(against, score))


def _score_of(against: int, score: str) -> float:
    return evaluate(LOGITS, (against, -1), score)[0] if against >= 0 else 0.0


@pytest.mark.parametrize("lead", [5.0, 18.42, 30.0, 80.0])
def test_probability_gradients_are_accurate_if_a_probability_is_almost_one(lead: float) -> None:
    getcontext().prec = 80
    logits = torch.tensor([lead, 0.0, -1.0])
    powers = [Decimal(float(v)).exp() for v in logits]
    p = [power / sum(powers) for power in powers]
    for score, expected in [("probability", p[0] * (1 - p[0])), ("log_probability", 1 - p[0])]:
        gradient = float(evaluate(logits, (0, -1), score)[1][0])
        assert gradient == pytest.approx(float(expected), rel=1e-9)


def resolved(targets: list[Class], against: int | str | None = None, logits: Tensor = LOGITS) -> object:
    return Objective(tuple(targets), against).resolved(logits)


def test_ranks_and_the_runner_up_are_resolved_from_the_logits() -> None:
    assert resolved([Rank(0)]) == ((2, -1),)
    assert resolved([Rank(0), Rank(1), Rank(2)]) == ((2, -1), (0, -1), (3, -1))
    assert resolved([3, Rank(0)], RUNNER_UP) == ((3, 2), (2, 0))
    assert resolved([1], 3) == ((1, 3),)


def test_a_class_against_itself_is_refused() -> None:
    with pytest.raises(RequestError) as raised:
        resolved([Rank(0)], 2)
    assert (raised.value.status, raised.value.option) == (422, "against")


def test_more_ranks_than_classes_are_refused() -> None:
    with pytest.raises(RequestError) as raised:
        resolved([Rank(i) for i in range(5)])
    assert (raised.value.status, raised.value.option) == (422, "target")


def test_a_fixed_objective_does_not_depend_on_the_logits() -> None:
    fixed = Objective((Rank(0),), RUNNER_UP).fixed(((3, 1),))
    assert fixed.resolved(LOGITS) == ((3, 1),)

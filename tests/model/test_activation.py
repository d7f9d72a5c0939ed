"""Probabilities, scores and their gradients by activation, against decimal arithmetic and finite differences."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch

from torchserve_saliency.engine.objective import SCORES, evaluate
from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.model.activation import (
    ACTIVATIONS,
    NONE,
    SIGMOID,
    SOFTMAX,
    Activation,
    Columns,
    find_activation,
)

LOGITS = torch.tensor([0.5, 0.3, 2.0, 0.1])
MULTI_LABEL = Columns(activation=SIGMOID)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("against", [-1, 1])
def test_the_gradient_equals_finite_differences_in_the_columns_of_a_head(
    activation: Activation, score: str, against: int
) -> None:
    columns = Columns(1, 3, activation)
    _, gradient = evaluate(LOGITS, (0, against), score, columns)
    assert gradient.shape == (4,)
    for i in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-6
        up, down = (evaluate(LOGITS.double() + s, (0, against), score, columns)[0] for s in (step, -step))
        assert (up - down) / 2e-6 == pytest.approx(float(gradient[i]), abs=1e-8)


@pytest.mark.parametrize("logit", [-80.0, -18.42, -1.0, 0.0, 1.0, 18.42, 30.0, 80.0, 800.0])
def test_a1_sigmoid_scores_are_accurate_if_a_probability_is_almost_one(logit: float) -> None:
    getcontext().prec = 400
    z = Decimal(float(torch.tensor(logit)))
    p = 1 / (1 + (-z).exp())
    expected = {"probability": (p, p * (1 - p)), "log_probability": (p.ln(), 1 - p), "logit": (z, Decimal(1))}
    for score, (value, slope) in expected.items():
        found, gradient = evaluate(torch.tensor([5.0, logit]), (1, -1), score, MULTI_LABEL)
        assert found == pytest.approx(float(value), rel=1e-12)
        assert gradient == pytest.approx([0, float(slope)], rel=1e-12)


def test_the_probabilities_of_each_activation() -> None:
    assert Columns().probabilities(LOGITS) == pytest.approx(LOGITS.double().softmax(0).numpy())
    assert MULTI_LABEL.probabilities(LOGITS) == pytest.approx(LOGITS.double().sigmoid().numpy())
    assert Columns(activation=NONE).probabilities(LOGITS) == pytest.approx(LOGITS.double().numpy())


def test_a3_probability_and_logit_explain_the_output_itself_if_there_is_no_activation() -> None:
    columns = Columns(activation=NONE)
    for score in ("probability", "logit"):
        value, gradient = evaluate(LOGITS, (2, -1), score, columns)
        assert (value, gradient.tolist()) == (2.0, [0, 0, 1, 0])
    value, gradient = evaluate(LOGITS, (2, -1), "log_probability", columns)
    assert value == pytest.approx(np.log(2))
    assert gradient.tolist() == [0, 0, 0.5, 0]


@pytest.mark.parametrize("output", [0.0, -0.25])
def test_a3_an_output_that_is_not_positive_has_no_logarithm(output: float) -> None:
    with pytest.raises(
        RequestError, match="only a positive output has a logarithm: ask for score=probability"
    ) as raised:
        evaluate(torch.tensor([output, 1.0]), (0, -1), "log_probability", Columns(activation=NONE))
    assert (raised.value.status, raised.value.option) == (422, "score")


def test_the_default_activation_depends_on_the_number_of_outputs() -> None:
    assert [find_activation(None, count) for count in (1, 2, 14)] == [SIGMOID, SOFTMAX, SOFTMAX]
    assert find_activation("none", 1) is NONE


@pytest.mark.parametrize(
    ("name", "outputs", "reason"),
    [
        ("relu", 4, "must be one of softmax, sigmoid, none"),
        (3, 4, "unknown activation 3"),
        ("softmax", 1, "the softmax of a single output is 1 for every picture"),
    ],
)
def test_an_activation_that_cannot_be_is_an_error(name: object, outputs: int, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        find_activation(name, outputs)

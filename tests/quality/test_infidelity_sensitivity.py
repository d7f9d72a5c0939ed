"""Infidelity and max-sensitivity, compared with plain loops, Captum, and known values for linear networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.judging import X, driven, judge
from tests.networks import SIZE, Modules, inputs, made
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Cost, NoParameters, Steps, Subject
from torchserve_saliency.methods.baselines import seeded
from torchserve_saliency.methods.gradient.integrated_gradients import IntegratedGradients
from torchserve_saliency.quality.infidelity_sensitivity import (
    COPIES,
    MOST_REPEATED,
    RADIUS,
    SQUARES,
    infidelity,
    max_sensitivity,
    perturbed_copies,
    repeat_cost,
    squares,
)

MAPS = inputs(2, seed=9, dtype=torch.float64)
MASKS = squares(X, SQUARES, 0)


class Linear(nn.Module):
    """Every logit is a weighted sum of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIZE * SIZE, 5, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def weights(network: nn.Module, target: int) -> Tensor:
    assert isinstance(network, Linear)
    return network.head.weight[target].view_as(X)


@pytest.mark.parametrize("local", [True, False])
def test_infidelity_equals_a_plain_loop(local: bool) -> None:
    network = made(Modules, dtype=torch.float64)
    found = driven(network, infidelity(judge(network, MAPS, ((1, -1), (2, 4)), "probability", local)))

    def score(x: Tensor, pair: tuple[int, int]) -> float:
        p = network(x)[0].softmax(0)
        return float(p[pair[0]] - (p[pair[1]] if pair[1] >= 0 else 0))

    for m, values in enumerate(MAPS):
        for t, pair in enumerate(((1, -1), (2, 4))):
            predicted = [float((values * mask * (X[0] if local else 1)).sum()) for mask in MASKS]
            changes = [score(X, pair) - score(X * (1 - mask), pair) for mask in MASKS]
            scale = sum(a * b for a, b in zip(predicted, changes, strict=True)) / sum(a * a for a in predicted)
            errors = [(scale * a - b) ** 2 for a, b in zip(predicted, changes, strict=True)]
            assert float(found[m, t]) == pytest.approx(sum(errors) / len(errors), rel=1e-6)


def test_infidelity_of_a_linear_network_is_0_for_its_gradient_and_for_gradient_times_input() -> None:
    network = made(Linear, dtype=torch.float64)
    gradient = weights(network, 1)
    for local, values in ((True, gradient), (True, 7 * gradient), (False, gradient * X)):
        both = torch.cat([values, MAPS[:1]])
        exact, random = driven(network, infidelity(judge(network, both, local=local)))[:, 0]
        assert exact < 1e-20
        assert random > 1e-4


def test_infidelity_of_a_map_without_channels_or_without_values() -> None:
    network = made(Linear, dtype=torch.float64)
    summed = (weights(network, 1) * X).sum(1, keepdim=True)
    shares, nothing = driven(network, infidelity(judge(network, torch.cat([summed, 0 * summed]))))[:, 0]
    changes = torch.stack([network(X)[0, 1] - network(X * (1 - mask))[0, 1] for mask in MASKS])
    assert shares < 1e-20
    assert float(nothing) == pytest.approx(float(changes.square().mean()))


@pytest.mark.parametrize("local", [True, False])
def test_infidelity_equals_captum(local: bool) -> None:
    metrics = pytest.importorskip("captum.metrics", reason="captum is not installed")
    network = made(Modules, dtype=torch.float64)
    found = driven(network, infidelity(judge(network, MAPS, local=local)))[:, 0]

    def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
        return (MASKS * x if local else MASKS.expand_as(x)), x * (1 - MASKS)

    for mine, values in zip(found, MAPS, strict=True):
        theirs = metrics.infidelity(
            network, perturb, X, values[None], target=1, n_perturb_samples=SQUARES, normalize=True
        )
        assert float(mine) == pytest.approx(float(theirs), rel=1e-5)


def test_squares_lie_in_the_picture_and_have_the_documented_sizes() -> None:
    wide = squares(torch.zeros(1, 3, 16, 40), 50, 1)
    for mask in wide[:, 0]:
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert rows == columns
        assert 2 <= rows <= 8
        assert mask.sum() == rows * columns
    assert wide.any(0).float().mean() > 0.8
    assert squares(torch.zeros(1, 3, 1, 1), 3, 0).all()


@pytest.mark.parametrize(
    ("method", "parameters"), [("gradient", NoParameters()), ("integrated_gradients", IntegratedGradients(steps=9))]
)
def test_max_sensitivity_equals_captum(method: str, parameters: object) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    from captum.metrics import sensitivity_max

    network = made(Modules, dtype=torch.float64)
    copies = torch.cat(perturbed_copies(X, seeded(0, X)))
    theirs = attr.Saliency(network) if method == "gradient" else attr.IntegratedGradients(network)
    options = {"abs": False} if method == "gradient" else {"n_steps": 9}
    values = torch.cat([theirs.attribute(X.clone(), target=t, **options).detach() for t in (1, 4)])

    def explain(subject: Subject) -> Steps:
        return METHODS[method].function(subject, parameters)

    judged = judge(network, torch.cat([values, MAPS[:1]]), ((1, -1), (4, -1)), again=explain)
    found = driven(network, max_sensitivity(judged))
    for t, target in enumerate((1, 4)):
        expected = sensitivity_max(
            theirs.attribute, X, lambda x: copies, n_perturb_samples=COPIES, target=target, **options
        )
        assert float(found[t, t]) == pytest.approx(float(expected), rel=1e-5)
    assert found[0, 1].isnan()
    assert float(found[2, 0]) == pytest.approx(2**0.5, rel=0.1)


def test_the_gradient_of_a_linear_network_has_no_sensitivity() -> None:
    network = made(Linear, dtype=torch.float64)

    def explain(subject: Subject) -> Steps:
        return METHODS["gradient"].function(subject, NoParameters())

    judged = judge(network, torch.cat([weights(network, 1), MAPS[:1]]), again=explain)
    own, random = driven(network, max_sensitivity(judged))[:, 0]
    assert own == 0
    assert random > 1


def test_copies_lie_within_the_radius() -> None:
    apart = torch.cat(perturbed_copies(X, seeded(0, X))) - X
    assert len(apart) == COPIES
    assert RADIUS * 0.99 < apart.abs().max() <= RADIUS
    assert abs(float(apart.mean())) < RADIUS / 20


def test_a_method_with_many_passes_is_not_repeated() -> None:
    assert repeat_cost(Cost(MOST_REPEATED, 5)) == Cost(COPIES * MOST_REPEATED, COPIES * 5)
    assert repeat_cost(Cost(MOST_REPEATED + 1, 5)) == Cost(0)

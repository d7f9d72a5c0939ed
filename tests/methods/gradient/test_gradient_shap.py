"""Gradient SHAP, compared with its formula, with Captum for the same random numbers, and with integrated gradients."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from tests.methods.gradient.test_smooth_grad import Linear, injected
from tests.methods.test_methods import SCORES, X, difference, reference_gradient, run
from tests.networks import Functional, Modules, Tokens, classifier, made
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.base import CHUNK, Subject
from torchserve_saliency.methods.baselines import BASELINES
from torchserve_saliency.methods.gradient.gradient_shap import GradientShap, _points, _starts
from torchserve_saliency.methods.gradient.integrated_gradients import IntegratedGradients

SAMPLES = CHUNK + 5


def drawn(network: nn.Module, p: GradientShap) -> tuple[Tensor, Tensor, Tensor]:
    """Return the random points, moves and baselines of the method, [samples, C, H, W] each."""
    subject = Subject(X, Objective((2,)), classifier(network).input)
    points, moves = (torch.cat(parts) for parts in zip(*_points(subject, p), strict=True))
    return points, moves, torch.cat(list(_starts(subject, p, p.samples)))


@pytest.mark.parametrize("baseline", ["zero", "uniform"])
@pytest.mark.parametrize("make", [Modules, Tokens])
def test_the_map_is_the_mean_of_gradient_times_move_for_every_target(make: type[nn.Module], baseline: str) -> None:
    network = made(make, dtype=torch.float64)
    p = GradientShap(SAMPLES, 0.1, baseline, 7)
    points, moves, starts = drawn(network, p)
    maps = run(network, "gradient_shap", p, Objective((2, 0), 4))
    for target, values, found in zip((2, 0), maps.values, maps.findings, strict=True):
        score = difference(SCORES["logit"], target, 4)
        expected = (reference_gradient(network, points, score) * moves).mean(0)
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-15)
        apart = score(network(X)[0]) - torch.stack([score(row) for row in network(starts)]).mean()
        assert found["score_difference"] == pytest.approx(float(apart), rel=1e-9)
        assert found["completeness_gap"] == pytest.approx(float(values.sum() - apart), abs=1e-9)


@pytest.mark.parametrize("baseline", BASELINES)
def test_each_point_lies_between_its_baseline_and_its_noisy_input(baseline: str) -> None:
    points, moves, starts = drawn(made(Modules, dtype=torch.float64), GradientShap(SAMPLES, 0.3, baseline, 1))
    share = ((points - starts) / moves).flatten(1)
    torch.testing.assert_close(share, share[:, :1].expand_as(share))
    assert 0 <= share.min() < 0.2
    assert 0.8 < share.max() <= 1
    assert len(starts[:, 0, 0, 0].unique()) == (SAMPLES if baseline == "uniform" else 1)
    assert len((moves + starts)[:, 0, 0, 0].unique()) == SAMPLES


def test_for_a_linear_network_the_map_is_the_weights_times_the_mean_move() -> None:
    network = made(Linear, dtype=torch.float64)
    weights = run(network, "smooth_grad", GradientShap(1), Objective((2,))).values
    p = GradientShap(SAMPLES, 0.3, "uniform")
    found = run(network, "gradient_shap", p, Objective((2,)))
    torch.testing.assert_close(found.values, weights * drawn(network, p)[1].mean(0))
    quiet = run(network, "gradient_shap", GradientShap(SAMPLES, 0.0, "uniform"), Objective((2,)))
    assert abs(quiet.findings[0]["completeness_gap"]) < 1e-12


def test_many_samples_approach_integrated_gradients() -> None:
    network = made(Tokens, dtype=torch.float64)
    found = run(network, "gradient_shap", GradientShap(500, 0.0, "black"), Objective((2,))).values
    exact = run(network, "integrated_gradients", IntegratedGradients(50, "black"), Objective((2,))).values
    assert float((found - exact).norm() / exact.norm()) < 0.1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("baseline", ["white", "uniform"])
def test_maps_equal_those_of_captum_for_the_same_random_numbers(baseline: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network = made(Functional, dtype=torch.float64)
    p = GradientShap(SAMPLES, 0.1, baseline, 3)
    points, moves, starts = drawn(network, p)
    shares = ((points - starts) / moves)[:, 0, 0, 0].numpy()
    with (
        injected(moves + starts - X),
        mock.patch("numpy.random.uniform", return_value=shares),
        mock.patch("numpy.random.choice", return_value=torch.arange(SAMPLES).numpy()),
    ):
        theirs = attr.GradientShap(network).attribute(X.clone(), starts, SAMPLES, 1.0, target=2)
    found = run(network, "gradient_shap", p, Objective((2,))).values
    torch.testing.assert_close(found, theirs.detach(), rtol=1e-5, atol=1e-12)

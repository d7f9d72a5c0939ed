"""Guided integrated gradients, compared with a plain version of the algorithm and closed forms; completeness."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.methods.gradient.test_smooth_grad import Linear
from tests.methods.test_methods import SCORES, X, reference_gradient, run
from tests.networks import Modules, Tokens, made
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.gradient.guided_integrated_gradients import GuidedIntegratedGradients
from torchserve_saliency.methods.gradient.integrated_gradients import IntegratedGradients


def reference_map(network: nn.Module, target: int, start: Tensor, p: GuidedIntegratedGradients) -> Tensor:
    """Return the map of algorithm 1 with anchors (Kapishnikov et al. 2021), computed feature by feature."""
    x, here = X.flatten().tolist(), start.flatten().tolist()
    first = list(here)
    way = [end - begin for end, begin in zip(x, first, strict=True)]
    total = sum(map(abs, way))
    attribution = [0.0] * len(x)
    for step in range(p.steps):
        gradient = reference_gradient(
            network, torch.tensor(here, dtype=X.dtype).view_as(X), lambda logits: logits[target]
        )
        slope = gradient.flatten().tolist()
        before = list(here)
        goal = (step + 1) / p.steps
        behind, ahead = max(0.0, goal - p.max_dist), min(1.0, goal + p.max_dist)
        share = [(h - f) / w if w else ahead for h, f, w in zip(here, first, way, strict=True)]
        share = [max(s, behind) for s in share]
        still_to_come = total * (1 - goal)
        stopped = {i for i in range(len(x)) if share[i] >= ahead - 1e-13 or not way[i]}
        while True:
            distance = sum(abs(w) * (1 - s) for w, s in zip(way, share, strict=True))
            if math.isclose(distance, still_to_come, rel_tol=1e-11, abs_tol=1e-11) or len(stopped) == len(x):
                break
            ranked = sorted(math.inf if i in stopped else abs(slope[i]) for i in range(len(x)))
            threshold = ranked[math.floor(p.fraction * (len(x) - 1))]
            moving = [i for i in range(len(x)) if i not in stopped and abs(slope[i]) <= threshold]
            gain = sum(abs(way[i]) * (ahead - share[i]) for i in moving)
            gamma = (distance - still_to_come) / gain
            for i in moving:
                share[i] = ahead if gamma > 1 else share[i] + gamma * (ahead - share[i])
            stopped |= set(moving)
            if gamma <= 1:
                break
        here = [f + s * w for f, s, w in zip(first, share, way, strict=True)]
        for i, (now, then) in enumerate(zip(here, before, strict=True)):
            attribution[i] += slope[i] * (now - then)
    return torch.tensor(attribution, dtype=X.dtype).view_as(X)


@pytest.mark.parametrize(
    ("fraction", "max_dist"), [(0.25, 0.02), (0.25, 0.3), (0.1, 1.0), (1.0, 0.1), (0.5, 0.0), (0.01, 0.05)]
)
@pytest.mark.parametrize("make", [Modules, Tokens])
def test_the_map_equals_the_algorithm_of_the_paper_for_each_target(
    make: type[nn.Module], fraction: float, max_dist: float
) -> None:
    network = made(make, dtype=torch.float64)
    p = GuidedIntegratedGradients(9, fraction, max_dist)
    found = run(network, "guided_integrated_gradients", p, Objective((2, 0))).values
    for target, values in zip((2, 0), found, strict=True):
        expected = reference_map(network, target, torch.zeros_like(X), p)
        torch.testing.assert_close(values[None], expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("max_dist", [0.0, 0.1, 1.0])
def test_for_a_linear_network_the_map_is_the_weights_times_input_minus_baseline(max_dist: float) -> None:
    network = made(Linear, dtype=torch.float64)
    p = GuidedIntegratedGradients(7, 0.2, max_dist, "white")
    found = run(network, "guided_integrated_gradients", p, Objective((2,)))
    torch.testing.assert_close(found.values, reference_gradient(network, X, lambda logits: logits[2]) * (X - 2.0))
    assert abs(found.findings[0]["completeness_gap"]) < 1e-12


def test_a_straight_path_approaches_integrated_gradients() -> None:
    network = made(Tokens, dtype=torch.float64)
    found = run(network, "guided_integrated_gradients", GuidedIntegratedGradients(400, 0.25, 0.0), Objective((2,)))
    exact = run(network, "integrated_gradients", IntegratedGradients(50), Objective((2,))).values
    assert float((found.values - exact).norm() / exact.norm()) < 0.02


def test_features_equal_to_the_baseline_get_zero() -> None:
    network = made(Modules, dtype=torch.float64)
    x = X.clone()
    x[..., :4] = 0
    found = run(network, "guided_integrated_gradients", GuidedIntegratedGradients(10), Objective((2,)), x).values
    assert not found[..., :4].any()
    assert found[..., 4:].any()
    nowhere = run(network, "guided_integrated_gradients", GuidedIntegratedGradients(3), Objective((2,)), 0 * X)
    assert not nowhere.values.any()


@pytest.mark.parametrize("score", SCORES)
def test_maps_are_complete(score: str) -> None:
    p = GuidedIntegratedGradients(300, baseline="black")
    network = made(Tokens, dtype=torch.float64)
    maps = run(network, "guided_integrated_gradients", p, Objective((2, 0), 4, score))
    of = SCORES[score]
    for target, found in zip((2, 0), maps.findings, strict=True):
        ends = [float(of(row, target) - of(row, 4)) for row in network(torch.cat([X, torch.full_like(X, -2.0)]))]
        assert found["score_difference"] == pytest.approx(ends[0] - ends[1], abs=1e-9)
        assert abs(found["completeness_gap"]) < 5e-2 * max(abs(found["score_difference"]), 0.01)

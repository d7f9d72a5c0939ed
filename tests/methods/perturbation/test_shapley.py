"""Shapley value sampling, compared with exact Shapley values, Captum for the same orders, and a closed form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, drive, pixel_effects, shapley_values, sum_by_segment
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.images.superpixels import segments
from torchserve_saliency.methods.perturbation.coalitions import orders
from torchserve_saliency.methods.perturbation.masking import cpu_generator
from torchserve_saliency.methods.perturbation.shapley import ShapleyValueSampling

NAME = "shapley_value_sampling"


def grid(x: Tensor, count: int) -> Tensor:
    return segments(x[0], count, "grid")


@pytest.mark.parametrize("samples", [1, 7])
def test_for_a_linear_network_every_order_gives_the_effect_of_the_pixels(samples: int) -> None:
    network = Linear(TALL)
    p = ShapleyValueSampling(samples, 20, "grid", "black")
    found = drive(network, NAME, p, Objective((1, 3)), TALL).value.values
    for target, values in zip((1, 3), found, strict=True):
        expected = sum_by_segment(pixel_effects(network, TALL, target, -2.0), grid(TALL, 20))
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
def test_all_orders_give_the_shapley_values(x: Tensor) -> None:
    network = made(Modules, dtype=torch.float64)
    found = drive(network, NAME, ShapleyValueSampling(24, 4, "grid"), Objective((2,)), x).value.values
    labels = grid(x, 4)
    torch.testing.assert_close(found[0, 0], shapley_values(network, x, labels, 2)[labels], rtol=1e-9, atol=1e-12)
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    theirs = attr.ShapleyValues(network).attribute(x, target=2, feature_mask=labels[None, None])
    torch.testing.assert_close(found, theirs[:, :1].double(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_maps_equal_those_of_captum_for_the_same_orders(score: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network = made(Modules, dtype=torch.float64)
    p = ShapleyValueSampling(9, 12, "grid", "white", seed=3)
    found = drive(network, NAME, p, Objective((2,), None, score)).value.values

    def forward(inputs: Tensor) -> Tensor:
        logits: Tensor = network(inputs)
        return logits.softmax(1) if score == "probability" else logits

    def ours(features: int, samples: int) -> Iterator[list[int]]:
        yield from orders(features, samples, cpu_generator(3)).tolist()

    sampling = attr.ShapleyValueSampling(forward)
    sampling.permutation_generator = ours
    theirs = sampling.attribute(
        X, baselines=torch.full_like(X, 2.0), target=2, feature_mask=grid(X, 12)[None, None], n_samples=9
    )
    torch.testing.assert_close(found, theirs[:, :1].double(), rtol=1e-5, atol=1e-7)


def test_more_orders_are_closer_to_the_shapley_values() -> None:
    network, labels = made(Modules, dtype=torch.float64), grid(X, 8)
    exact = shapley_values(network, X, labels, 2)[labels]

    def apart(samples: int) -> float:
        found = drive(network, NAME, ShapleyValueSampling(samples, 8, "grid"), Objective((2,))).value.values[0, 0]
        return float((found - exact).norm() / exact.norm())

    assert apart(400) < min(0.1, apart(4) / 3)


@pytest.mark.parametrize("count", [1, 2, 25])
def test_values_sum_to_the_change_in_score(count: int) -> None:
    network = made(Modules, dtype=torch.float64)
    driven = drive(network, NAME, ShapleyValueSampling(3, count), Objective((2, 0), 4, "probability"))
    for finding in driven.value.findings:
        assert abs(finding["completeness_gap"]) < 1e-12
        assert abs(finding["score_difference"]) > 1e-4

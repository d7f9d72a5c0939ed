"""LIME and Kernel SHAP, compared with scikit-learn, Captum, exact Shapley values, and a closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, drive, pixel_effects, shapley_values, sum_by_segment
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.images.superpixels import segments
from torchserve_saliency.methods.perturbation.masking import cpu_generator
from torchserve_saliency.methods.perturbation.surrogates import KernelShap, Lime, constrained_regression, ridge

LABELS = segments(X[0], 9, "grid")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_lime_of_a_linear_network_is_the_effect_of_the_pixels() -> None:
    network, p = Linear(TALL), Lime(200, 20, "grid", "black", ridge=1e-6)
    driven = drive(network, "lime", p, Objective((1, 3)), TALL)
    for target, values, finding in zip((1, 3), driven.value.values, driven.value.findings, strict=True):
        expected = sum_by_segment(pixel_effects(network, TALL, target, -2.0), segments(TALL[0], 20, "grid"))
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)
        assert finding["surrogate_r2"] == pytest.approx(1)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 50.0])
def test_the_regression_equals_scikit_learn(penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    z, y, weights = (randn(60, 7, seed=1) > 0).double(), randn(3, 60), randn(60, seed=2).exp()
    found, explained = ridge(z, y, weights, penalty)
    for values, share, scores in zip(found, explained, y, strict=True):
        theirs = linear_model.Ridge(penalty).fit(z.numpy(), scores.numpy(), weights.numpy())
        torch.testing.assert_close(values, torch.from_numpy(theirs.coef_), rtol=1e-9, atol=1e-12)
        assert float(share) == pytest.approx(theirs.score(z.numpy(), scores.numpy(), weights.numpy()))


def test_constant_scores_have_zero_coefficients_and_a_finite_r2() -> None:
    values, explained = ridge(
        (randn(20, 4) > 0).double(), torch.full((1, 20), 3.0, dtype=torch.float64), randn(20).exp(), 1.0
    )
    torch.testing.assert_close(values, torch.zeros(1, 4, dtype=torch.float64))
    assert explained.isfinite().all()


def lime_masks(p: Lime, count: int) -> Tensor:
    """Return the presence of superpixels [1 + samples, count] in all samples of a request, the whole picture first."""
    masks = torch.rand(p.samples, count, generator=cpu_generator(p.seed)) < 0.5
    return torch.cat([torch.ones(1, count, dtype=torch.bool), masks])


@pytest.mark.filterwarnings("ignore")
def test_lime_equals_captum_for_the_same_samples() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    models = pytest.importorskip("captum._utils.models.linear_model", reason="captum is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    network, p = made(Modules, dtype=torch.float64), Lime(40, 9, "grid", "white", kernel_width=0.3, ridge=0.5, seed=2)
    found = drive(network, "lime", p, Objective((2,))).value.values
    samples = iter(lime_masks(p, 9))

    def perturb(original: Tensor, **kwargs: Any) -> Tensor:
        return next(samples)[None].double()

    def similarity(original: Tensor, perturbed: Tensor, z: Tensor, **kwargs: Any) -> Tensor:
        cosine = torch.nn.functional.cosine_similarity(z[0], torch.ones(9, dtype=torch.float64), dim=0)
        return torch.exp(-((1 - cosine) ** 2) / (2 * 0.3**2))

    def to_input(z: Tensor, original: Tensor, **kwargs: Any) -> Tensor:
        there = z[0].bool()[LABELS]
        return torch.where(there, original, torch.full_like(original, 2.0))

    base = attr.LimeBase(network, models.SkLearnRidge(alpha=0.5), similarity, perturb, True, to_input, None)
    theirs = base.attribute(X, target=2, n_samples=41)
    torch.testing.assert_close(found[0, 0], theirs.flatten().double()[LABELS], rtol=1e-5, atol=1e-7)


def test_kernel_shap_of_a_linear_network_is_the_effect_of_the_pixels() -> None:
    network, p = Linear(TALL), KernelShap(100, 20, "grid", "black")
    found = drive(network, "kernel_shap", p, Objective((1, 3)), TALL).value.values
    for target, values in zip((1, 3), found, strict=True):
        expected = sum_by_segment(pixel_effects(network, TALL, target, -2.0), segments(TALL[0], 20, "grid"))
        torch.testing.assert_close(values, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
def test_kernel_shap_of_few_segments_is_exact(x: Tensor, count: int) -> None:
    network = made(Modules, dtype=torch.float64)
    driven = drive(network, "kernel_shap", KernelShap(62, count, "grid"), Objective((2,)), x)
    labels = segments(x[0], count, "grid")
    torch.testing.assert_close(
        driven.value.values[0, 0], shapley_values(network, x, labels, 2)[labels], rtol=1e-7, atol=1e-12
    )
    assert driven.cost.forwards == 2**count


def test_more_samples_of_kernel_shap_are_more_accurate() -> None:
    network, labels = made(Modules, dtype=torch.float64), segments(X[0], 9, "grid")
    exact = shapley_values(network, X, labels, 2)[labels]

    def apart(samples: int) -> float:
        found = drive(network, "kernel_shap", KernelShap(samples, 9, "grid"), Objective((2,))).value.values[0, 0]
        return float((found - exact).norm() / exact.norm())

    assert apart(300) < min(0.1, apart(10) / 3)


@pytest.mark.parametrize("samples", [2, 10, 300])
def test_kernel_shap_values_sum_to_the_change_in_score(samples: int) -> None:
    network = made(Modules, dtype=torch.float64)
    driven = drive(network, "kernel_shap", KernelShap(samples, 30), Objective((2, 0), 4, "probability"))
    for finding in driven.value.findings:
        assert abs(finding["completeness_gap"]) < 1e-12
        assert abs(finding["score_difference"]) > 1e-4


def test_the_constrained_regression_has_the_smallest_loss_of_all_with_its_sum() -> None:
    z, y, weights, total = (randn(40, 5, seed=1) > 0).double(), randn(2, 40), randn(40, seed=2).exp(), randn(2, seed=3)
    found = constrained_regression(z, y, weights, total)
    torch.testing.assert_close(found.sum(1), total)

    def loss(values: Tensor) -> Tensor:
        return (y - values @ z.T).square() @ weights

    for seed in range(20):
        aside = 0.05 * randn(2, 5, seed=seed)
        assert (loss(found) < loss(found + aside - aside.mean(1, keepdim=True))).all()


def test_without_samples_all_parts_have_equal_shares() -> None:
    none = torch.zeros(0, 4, dtype=torch.float64)
    found = constrained_regression(
        none, torch.zeros(1, 0, dtype=torch.float64), none[:, 0], torch.tensor([2.0], dtype=torch.float64)
    )
    torch.testing.assert_close(found, torch.full((1, 4), 0.5, dtype=torch.float64))

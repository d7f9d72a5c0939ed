"""LIME and Kernel SHAP: linear models of the score, with the presence of each superpixel as a feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import baseline_option, seed_option
from torchserve_saliency.methods.perturbation.coalitions import coalitions, empty_score_and_change
from torchserve_saliency.methods.perturbation.masking import (
    cpu_generator,
    fit_segments,
    prepare_parts,
    scores,
    segments_option,
    shapley_maps,
    superpixels_option,
)
from torchserve_saliency.schema import Integer, Number, option

_MOST_SAMPLES = 4000


@dataclass(frozen=True)
class Lime:
    """The superpixels, the number of masked pictures, and the regression."""

    samples: int = option(
        300,
        Integer(1, _MOST_SAMPLES),
        "Pictures with regions removed, one forward pass each; more are more exact",
        unit="masks",
    )
    segments: int = segments_option(50, "keep it well below samples")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    kernel_width: float = option(
        0.25, Number(0.01, 100), "Larger values give more weight to pictures with many regions removed"
    )
    ridge: float = option(1.0, Number(1e-6, 1e6), "Larger values make the map weaker and steadier")
    seed: int = seed_option()


def _lime_cost(p: Lime, spec: InputSpec) -> Cost:
    """Return a forward pass of the picture, and one per masked picture."""
    return Cost(1 + p.samples)


def lime(subject: Subject, p: Lime) -> Steps:
    """Coefficients of a ridge regression of the score on the presence of superpixels, [T, 1, H, W].

    Ribeiro et al. 2016. Samples are weighted by their nearness to the whole picture. The finding `surrogate_r2` is the
    share of the scores' weighted variance that the linear model explains.
    """
    clean, parts, objective = yield from prepare_parts(subject, p)
    present = torch.rand(p.samples, parts.count, generator=cpu_generator(p.seed)) < 0.5
    masked = yield from scores(parts, objective, present)
    presence = torch.cat([torch.ones(1, parts.count), present]).double()
    weights = torch.exp(-(cosine_distance(presence) ** 2) / (2 * p.kernel_width**2))
    values, explained = ridge(presence, torch.cat([clean.scores[:, :1], masked], 1), weights, p.ridge)
    return Maps(parts.maps(values), tuple({"surrogate_r2": float(share)} for share in explained))


def cosine_distance(presence: Tensor) -> Tensor:
    """Return the cosine distance [n] of rows [n, count] of zeros and ones from a row of ones."""
    return 1 - (presence.mean(1)).sqrt()


def ridge(z: Tensor, y: Tensor, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Return the coefficients [T, count] and R² [T] of a weighted ridge regression of `y` [T, n] on `z` [n, count].

    The intercept is not penalised, as in scikit-learn.
    """
    share = weights / weights.sum()
    z, y = z - share @ z, y - (y @ share)[:, None]
    normal = z.T @ (weights[:, None] * z) + penalty * torch.eye(z.shape[1], dtype=z.dtype)
    values = torch.linalg.solve(normal, z.T @ (weights * y).T).T
    residual, variance = (y - values @ z.T).square() @ weights, y.square() @ weights
    return values, torch.where(variance > 0, 1 - residual / variance, torch.zeros_like(variance))


@dataclass(frozen=True)
class KernelShap:
    """The superpixels, and the number of coalitions."""

    samples: int = option(
        300,
        Integer(2, _MOST_SAMPLES),
        "Pictures with regions removed, one forward pass each; more are more exact",
        unit="masks",
    )
    segments: int = segments_option(50, "keep it well below samples")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    seed: int = seed_option()


def _kernel_shap_cost(p: KernelShap, spec: InputSpec) -> Cost:
    """Return forward passes of the picture, the baseline and the coalitions."""
    return Cost(2 + min(p.samples, 2**p.segments - 2))


def kernel_shap(subject: Subject, p: KernelShap) -> Steps:
    """Shapley values of the superpixels, as coefficients of a weighted regression, [T, 1, H, W].

    Lundberg and Lee 2017. The findings are `score_difference`, the change in score from the baseline to the picture,
    and `completeness_gap`, the sum of the Shapley values minus that change.
    """
    clean, parts, objective = yield from prepare_parts(subject, p)
    empty, change = yield from empty_score_and_change(parts, objective, clean.scores[:, 0])
    present, weights = coalitions(parts.count, p.samples, cpu_generator(p.seed))
    found = yield from scores(parts, objective, present)
    return shapley_maps(
        parts, constrained_regression(present.double(), found - empty[:, None], weights, change), change
    )


def constrained_regression(z: Tensor, y: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Return coefficients [T, count] of a weighted regression of `y` [T, n] on `z` [n, count] that sum to `total` [T].

    They are written as equal shares of `total` plus deviations that sum to 0. If there are several solutions, the one
    with the smallest deviations is returned.
    """
    even = (total / z.shape[1])[:, None]
    root = weights.sqrt()[:, None]
    centred = root * (z - z.mean(1, keepdim=True))  # a constant added to a row of `z` has no effect on the deviations
    # gelsd also solves rank-deficient systems, as with fewer samples than parts
    deviations: Tensor = torch.linalg.lstsq(centred, root * (y - even * z.sum(1)).T, driver="gelsd").solution
    coefficients: Tensor = even + (deviations - deviations.mean(0)).T
    return coefficients


SURROGATE_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "lime": Method(
            lime,
            Lime,
            "Ribeiro et al. 2016, arXiv:1602.04938",
            "How much each region adds to the score, by a simple model of masked pictures",
            cost=_lime_cost,
            fit=fit_segments,
        ),
        "kernel_shap": Method(
            kernel_shap,
            KernelShap,
            "Lundberg and Lee 2017, arXiv:1705.07874",
            "A fair share of the score for each region, estimated from masked pictures",
            cost=_kernel_shap_cost,
            fit=fit_segments,
        ),
    }
)

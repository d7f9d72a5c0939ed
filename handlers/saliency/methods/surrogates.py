"""Linear models of the score, in terms of which superpixels are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline_option, seed_option
from saliency.methods.coalitions import coalitions, ends
from saliency.methods.masking import (
    begun,
    drawn,
    fair_shares,
    fit_segments,
    scores,
    segments_option,
    superpixels_option,
)
from saliency.schema import Integer, Number, option

_MOST_SAMPLES = 4000


@dataclass(frozen=True)
class Lime:
    """What is hidden, how often, and the linear model of it."""

    samples: int = option(300, Integer(1, _MOST_SAMPLES), "masked pictures, a forward pass each")
    segments: int = segments_option(50, "well below the samples")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    kernel_width: float = option(0.25, Number(0.01, 100), "cosine distance within which a sample counts")
    ridge: float = option(1.0, Number(1e-6, 1e6), "penalty on the squared coefficients")
    seed: int = seed_option()


def _lime_cost(p: Lime, spec: InputSpec) -> Cost:
    """Return the clean picture and the masked ones."""
    return Cost(1 + p.samples)


def lime(subject: Subject, p: Lime) -> Steps:
    """Coefficients of a ridge regression on which superpixels are there, near the picture (Ribeiro et al. 2016).

    The finding `surrogate_r2` is the share of the scores' weighted variance that the linear model explains.
    """
    clean, parts, objective = yield from begun(subject, p)
    present = torch.rand(p.samples, parts.count, generator=drawn(p.seed)) < 0.5
    masked = yield from scores(parts, objective, present)
    there = torch.cat([torch.ones(1, parts.count), present]).double()
    weights = torch.exp(-(nearness(there) ** 2) / (2 * p.kernel_width**2))
    values, explained = ridge(there, torch.cat([clean.scores[:, :1], masked], 1), weights, p.ridge)
    return Maps(parts.maps(values), tuple({"surrogate_r2": float(share)} for share in explained))


def nearness(there: Tensor) -> Tensor:
    """Return the cosine distance [n] of rows of zeros and ones [n, count] from the row of ones."""
    return 1 - (there.mean(1)).sqrt()


def ridge(z: Tensor, y: Tensor, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Return coefficients [T, count] and explained share [T] of a weighted ridge regression of `y` [T, n] on `z`.

    The intercept is not penalised, as in scikit-learn.
    """
    share = weights / weights.sum()
    z, y = z - share @ z, y - (y @ share)[:, None]
    normal = z.T @ (weights[:, None] * z) + penalty * torch.eye(z.shape[1], dtype=z.dtype)
    values = torch.linalg.solve(normal, z.T @ (weights * y).T).T
    left, whole = (y - values @ z.T).square() @ weights, y.square() @ weights
    return values, torch.where(whole > 0, 1 - left / whole, torch.zeros_like(whole))


@dataclass(frozen=True)
class KernelShap:
    """What is hidden, and how often."""

    samples: int = option(300, Integer(2, _MOST_SAMPLES), "masked pictures at most, a forward pass each")
    segments: int = segments_option(50, "Shapley values are exact where 2^segments - 2 samples suffice")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    seed: int = seed_option()


def _kernel_shap_cost(p: KernelShap, spec: InputSpec) -> Cost:
    """Return the clean picture, the absent one and the coalitions."""
    return Cost(2 + min(p.samples, 2**p.segments - 2))


def kernel_shap(subject: Subject, p: KernelShap) -> Steps:
    """Shapley values of the superpixels, as the coefficients of a regression (Lundberg and Lee 2017)."""
    clean, parts, objective = yield from begun(subject, p)
    nothing, change = yield from ends(parts, objective, clean.scores[:, 0])
    present, weights = coalitions(parts.count, p.samples, drawn(p.seed))
    found = yield from scores(parts, objective, present)
    return fair_shares(parts, efficient(present.double(), found - nothing[:, None], weights, change), change)


def efficient(z: Tensor, y: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Return the coefficients [T, count] of a weighted regression of `y` [T, n] on `z` that sum to `total` [T].

    Coefficients are the even share plus what sums to 0; of several solutions, the one nearest to even shares.
    """
    even = (total / z.shape[1])[:, None]
    root = weights.sqrt()[:, None]
    left = root * (z - z.mean(1, keepdim=True))  # what sums to 0 sees of `z` no more than this
    # the driver that takes what leaves several solutions, as fewer samples than parts do
    uneven: Tensor = torch.linalg.lstsq(left, root * (y - even * z.sum(1)).T, driver="gelsd").solution
    shares: Tensor = even + (uneven - uneven.mean(0)).T
    return shares


SURROGATES: Mapping[str, Method] = MappingProxyType(
    {
        "lime": Method(lime, Lime, "Ribeiro et al. 2016, arXiv:1602.04938", cost=_lime_cost, fit=fit_segments),
        "kernel_shap": Method(
            kernel_shap,
            KernelShap,
            "Lundberg and Lee 2017, arXiv:1705.07874",
            cost=_kernel_shap_cost,
            fit=fit_segments,
        ),
    }
)

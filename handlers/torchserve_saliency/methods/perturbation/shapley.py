"""Shapley value sampling: the mean effect of adding a superpixel, over random orders of the superpixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import Cost, Method, Steps, Subject
from torchserve_saliency.methods.baselines import baseline_option, seed_option
from torchserve_saliency.methods.perturbation.coalitions import empty_score_and_change, orders, prefixes
from torchserve_saliency.methods.perturbation.masking import (
    cpu_generator,
    fit_segments,
    prepare_parts,
    scores,
    segments_option,
    shapley_maps,
    superpixels_option,
)
from torchserve_saliency.schema import Integer, option

_MOST_ORDERS = 1000


@dataclass(frozen=True)
class ShapleyValueSampling:
    """The superpixels, and the number of random orders."""

    samples: int = option(
        10, Integer(1, _MOST_ORDERS), "Random orders in which regions are added; more are more exact", unit="orders"
    )
    segments: int = segments_option(25, "more show smaller details")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    seed: int = seed_option()


def _cost(p: ShapleyValueSampling, spec: InputSpec) -> Cost:
    """Return forward passes of the picture and the baseline, and of the coalitions between them in each order."""
    return Cost(2 + p.samples * (p.segments - 1))


def shapley_value_sampling(subject: Subject, p: ShapleyValueSampling) -> Steps:
    """Mean change in score if a superpixel is added, over random orders, [T, 1, H, W] (Castro et al. 2009).

    The findings are `score_difference`, the change in score from the baseline to the picture, and `completeness_gap`,
    the sum of the Shapley values minus that change.
    """
    clean, parts, objective = yield from prepare_parts(subject, p)
    empty, change = yield from empty_score_and_change(parts, objective, clean.scores[:, 0])
    total = torch.zeros(len(change), parts.count, dtype=torch.float64)
    order = orders(parts.count, p.samples, cpu_generator(p.seed))
    for block, present in prefixes(order):
        between = yield from scores(parts, objective, present.flatten(0, 1))
        path = torch.cat([_per_order(empty, block), between.view(len(total), len(block), -1)], 2)
        steps = torch.cat([path, _per_order(clean.scores[:, 0], block)], 2).diff(dim=2)
        total.index_add_(1, block.flatten(), steps.flatten(1) / len(order))
    return shapley_maps(parts, total, change)


def _per_order(score: Tensor, block: Tensor) -> Tensor:
    """Return a score [T], repeated for each of the n orders of a block, [T, n, 1]."""
    return score[:, None, None].expand(-1, len(block), 1)


SHAPLEY_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "shapley_value_sampling": Method(
            shapley_value_sampling,
            ShapleyValueSampling,
            "Castro et al. 2009, doi:10.1016/j.cor.2008.04.004",
            "A fair share of the score for each region, by adding regions in random order",
            cost=_cost,
            fit=fit_segments,
        ),
    }
)

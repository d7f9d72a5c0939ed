"""Shapley values of superpixels, by the orders in which they may come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from saliency.image import InputSpec
from saliency.methods.base import Cost, Method, Steps, Subject
from saliency.methods.baselines import baseline_option, seed_option
from saliency.methods.coalitions import ends, growing, orders
from saliency.methods.masking import (
    begun,
    drawn,
    fair_shares,
    fit_segments,
    scores,
    segments_option,
    superpixels_option,
)
from saliency.schema import Integer, option

_MOST_ORDERS = 1000


@dataclass(frozen=True)
class ShapleyValueSampling:
    """The superpixels, and in how many orders they come."""

    samples: int = option(10, Integer(1, _MOST_ORDERS), "random orders, of segments - 1 forward passes each")
    segments: int = segments_option(25, "Shapley values are exact where samples are as many as their orders")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    seed: int = seed_option()


def _cost(p: ShapleyValueSampling, spec: InputSpec) -> Cost:
    """Return the clean picture, the absent one, and what is between them in each order."""
    return Cost(2 + p.samples * (p.segments - 1))


def shapley_value_sampling(subject: Subject, p: ShapleyValueSampling) -> Steps:
    """Mean change in score as each superpixel comes, over random orders of them (Castro et al. 2009)."""
    clean, parts, objective = yield from begun(subject, p)
    nothing, change = yield from ends(parts, objective, clean.scores[:, 0])
    total = torch.zeros(len(change), parts.count, dtype=torch.float64)
    order = orders(parts.count, p.samples, drawn(p.seed))
    for block, present in growing(order):
        between = yield from scores(parts, objective, present.flatten(0, 1))
        path = torch.cat([_every(nothing, block), between.view(len(total), len(block), -1)], 2)
        steps = torch.cat([path, _every(clean.scores[:, 0], block)], 2).diff(dim=2)
        total.index_add_(1, block.flatten(), steps.flatten(1) / len(order))
    return fair_shares(parts, total, change)


def _every(score: Tensor, block: Tensor) -> Tensor:
    """Return a score [T] at one end of every order of a block, [T, n, 1]."""
    return score[:, None, None].expand(-1, len(block), 1)


SHAPLEY: Mapping[str, Method] = MappingProxyType(
    {
        "shapley_value_sampling": Method(
            shapley_value_sampling,
            ShapleyValueSampling,
            "Castro et al. 2009, doi:10.1016/j.cor.2008.04.004",
            cost=_cost,
            fit=fit_segments,
        ),
    }
)

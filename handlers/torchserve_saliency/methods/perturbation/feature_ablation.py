"""Feature ablation: superpixels are removed one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods.base import Cost, Maps, Method, Steps, Subject
from torchserve_saliency.methods.baselines import baseline_option, seed_option
from torchserve_saliency.methods.perturbation.masking import (
    fit_segments,
    prepare_parts,
    scores,
    segments_option,
    superpixels_option,
)


@dataclass(frozen=True)
class FeatureAblation:
    """The superpixels, and the baseline that replaces a removed one."""

    segments: int = segments_option(50, "each needs one forward pass")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    seed: int = seed_option()


def _cost(p: FeatureAblation, spec: InputSpec) -> Cost:
    """Return a forward pass of the picture, and one without each superpixel."""
    return Cost(1 + p.segments)


def feature_ablation(subject: Subject, p: FeatureAblation) -> Steps:
    """Loss of score if a pixel's superpixel is removed, [T, 1, H, W] (Kokhlikyan et al. 2020)."""
    clean, parts, objective = yield from prepare_parts(subject, p)
    without = yield from scores(parts, objective, ~torch.eye(parts.count, dtype=torch.bool))
    return Maps(parts.maps(clean.scores - without))


FEATURE_ABLATION_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "feature_ablation": Method(
            feature_ablation,
            FeatureAblation,
            "Kokhlikyan et al. 2020, arXiv:2009.07896",
            "How much the score drops if each region of the picture is removed",
            cost=_cost,
            fit=fit_segments,
        ),
    }
)

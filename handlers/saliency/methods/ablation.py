"""Superpixels taken away one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from saliency.image import InputSpec
from saliency.methods.base import Cost, Maps, Method, Steps, Subject
from saliency.methods.baselines import baseline_option, seed_option
from saliency.methods.masking import begun, fit_segments, scores, segments_option, superpixels_option


@dataclass(frozen=True)
class FeatureAblation:
    """What is taken away, and what stands for it."""

    segments: int = segments_option(50, "a forward pass each")
    superpixels: str = superpixels_option()
    baseline: str = baseline_option()
    seed: int = seed_option()


def _cost(p: FeatureAblation, spec: InputSpec) -> Cost:
    """Return the clean picture, and one without each superpixel."""
    return Cost(1 + p.segments)


def feature_ablation(subject: Subject, p: FeatureAblation) -> Steps:
    """Score lost with each superpixel, at all of its pixels (Kokhlikyan et al. 2020)."""
    clean, parts, objective = yield from begun(subject, p)
    without = yield from scores(parts, objective, ~torch.eye(parts.count, dtype=torch.bool))
    return Maps(parts.maps(clean.scores - without))


ABLATION: Mapping[str, Method] = MappingProxyType(
    {
        "feature_ablation": Method(
            feature_ablation,
            FeatureAblation,
            "Kokhlikyan et al. 2020, arXiv:2009.07896",
            cost=_cost,
            fit=fit_segments,
        ),
    }
)

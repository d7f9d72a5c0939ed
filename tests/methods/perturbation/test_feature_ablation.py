"""Feature ablation, compared with Captum and with a closed form for linear networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, drive, pixel_effects, spec_of, sum_by_segment
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.base import Subject
from torchserve_saliency.methods.perturbation.feature_ablation import FeatureAblation
from torchserve_saliency.methods.perturbation.masking import superpixel_parts


def labels(x: Tensor, p: FeatureAblation) -> Tensor:
    return superpixel_parts(Subject(x, Objective((0,)), spec_of(x)), p).labels


@pytest.mark.parametrize("superpixels", ["slic", "grid"])
def test_for_a_linear_network_a_superpixel_has_the_effect_of_its_pixels(superpixels: str) -> None:
    network, p = Linear(TALL), FeatureAblation(20, superpixels, "black")
    found = drive(network, "feature_ablation", p, Objective((1, 3)), TALL).value.values
    for target, values in zip((1, 3), found, strict=True):
        expected = sum_by_segment(pixel_effects(network, TALL, target, -2.0), labels(TALL, p))
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_maps_equal_those_of_captum(x: Tensor, score: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network, p = made(Modules, dtype=torch.float64), FeatureAblation(20, "slic", "white")
    found = drive(network, "feature_ablation", p, Objective((2,), 4, score), x).value.values

    def difference(inputs: Tensor) -> Tensor:
        logits = network(inputs)
        scores: Tensor = logits.softmax(1) if score == "probability" else logits
        return scores[:, 2] - scores[:, 4]

    theirs = attr.FeatureAblation(difference).attribute(
        x, baselines=torch.full_like(x, 2.0), feature_mask=labels(x, p)[None, None]
    )
    torch.testing.assert_close(found, theirs[:, :1], rtol=1e-5, atol=1e-12)

"""Feature ablation, against Captum and where it is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saliency.methods.ablation import FeatureAblation
from saliency.methods.base import Subject
from saliency.methods.masking import cut
from saliency.objective import Objective
from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, by_segment, drive, effects, spec_of


def labels(x: Tensor, p: FeatureAblation) -> Tensor:
    return cut(Subject(x, Objective((0,)), spec_of(x)), p).labels


@pytest.mark.parametrize("superpixels", ["slic", "grid"])
def test_on_a_linear_network_a_superpixel_has_what_its_pixels_add(superpixels: str) -> None:
    network, p = Linear(TALL), FeatureAblation(20, superpixels, "black")
    found = drive(network, "feature_ablation", p, Objective((1, 3)), TALL).value.values
    for target, values in zip((1, 3), found, strict=True):
        expected = by_segment(effects(network, TALL, target, -2.0), labels(TALL, p))
        torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_captum_says_the_same(x: Tensor, score: str) -> None:
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

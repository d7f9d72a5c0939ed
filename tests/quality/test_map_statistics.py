"""Sparseness, top share and completeness gap of maps with known values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.judging import driven, judge
from tests.networks import Modules, inputs, made
from torchserve_saliency.quality.map_statistics import completeness_gap, gini, sparseness, top_share

NETWORK = made(Modules, dtype=torch.float64)


def test_the_gini_index_is_0_for_a_constant_map_and_near_1_for_a_single_pixel() -> None:
    single = torch.zeros(1, 50, dtype=torch.float64)
    single[0, 17] = 3
    assert float(gini(torch.full((1, 50), 2.0, dtype=torch.float64))) == pytest.approx(0)
    assert float(gini(single)) == pytest.approx(1 - 1 / 50)
    assert gini(torch.zeros(1, 50, dtype=torch.float64)).isnan()


def test_the_gini_index_is_half_the_mean_difference_over_the_mean() -> None:
    magnitudes = inputs(seed=5, dtype=torch.float64).flatten()[:40].abs()
    expected = (magnitudes[:, None] - magnitudes).abs().mean() / (2 * magnitudes.mean())
    assert float(gini(magnitudes[None])) == pytest.approx(float(expected))


def test_sparseness_and_top_share_use_magnitudes_of_the_map_as_sent() -> None:
    signed = inputs(2, seed=6, dtype=torch.float64)
    judged = judge(NETWORK, signed, ((1, -1), (2, -1)))
    magnitudes = signed.sum(1).flatten(1).abs()
    found = driven(NETWORK, sparseness(judged))
    assert found.shape == (2, 2)
    torch.testing.assert_close(found[:, 0], gini(magnitudes))
    ordered = magnitudes[1].sort(descending=True).values
    expected = float(ordered[:26].sum() / ordered.sum())  # of 256 pixels
    assert float(driven(NETWORK, top_share(judged))[1, 0]) == pytest.approx(expected)


def test_the_top_share_is_a_tenth_for_a_constant_map_and_nan_for_zeros() -> None:
    even = torch.ones(2, 3, 20, 20, dtype=torch.float64)
    even[1] = 0
    judged = replace(judge(NETWORK, inputs(dtype=torch.float64)), shown=even.sum(1), values=even)
    even_share, none = driven(NETWORK, top_share(judged))[:, 0]
    assert float(even_share) == pytest.approx(0.1)
    assert none.isnan()


def test_the_completeness_gap_is_the_finding_of_the_method() -> None:
    values = inputs(3, seed=8, dtype=torch.float64)
    findings: tuple[dict[str, float], ...] = ({"completeness_gap": 0.25, "score_difference": 2.0}, {})
    judged = replace(judge(NETWORK, values, ((1, -1), (2, -1))), findings=findings)
    found = driven(NETWORK, completeness_gap(judged))
    scaled = values[2] * (values[0].norm() / values[2].norm())
    assert found[0, 0] == 0.25
    assert float(found[2, 0]) == pytest.approx(float(scaled.sum()) - 2.0)
    assert found[:, 1].isnan().all()

"""Reductions over channels, compared with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torchserve_saliency.methods.reduction import REDUCTIONS, reduced

MAPS = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
ARRAY = MAPS.numpy()
EXPECTED = {
    "max_abs": np.abs(ARRAY).max(1),
    "sum_abs": np.abs(ARRAY).sum(1),
    "l2": np.sqrt((ARRAY.astype(np.float64) ** 2).sum(1)),
    "sum": ARRAY.sum(1),
    "none": ARRAY,
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_each_reduction(name: str) -> None:
    np.testing.assert_allclose(reduced(MAPS, name, "both").numpy(), EXPECTED[name], rtol=1e-6, atol=1e-6)


def test_polarities_split_a_signed_map() -> None:
    parts = [reduced(MAPS, "sum", polarity) for polarity in ("positive", "negative")]
    assert bool((parts[0] >= 0).all())
    assert bool((parts[1] <= 0).all())
    torch.testing.assert_close(parts[0] + parts[1], reduced(MAPS, "sum", "both"))

"""Smoothing is a Gaussian mean for all sizes of maps."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.drawing import bump
from torchserve_saliency.responses.smoothing import FINEST, smooth


@pytest.mark.parametrize("size", [(20, 30), (7, 41)])
def test_smoothing_is_a_gaussian_mean(size: tuple[int, int]) -> None:
    saliency = np.random.default_rng(0).normal(size=size)
    sigma = 0.1 * size[1]
    expected = np.empty(size)
    down, across = np.mgrid[: size[0], : size[1]]
    for row, column in np.ndindex(*size):
        weights = np.exp(-((down - row) ** 2 + (across - column) ** 2) / (2 * sigma**2))
        expected[row, column] = (weights * saliency).sum() / weights.sum()
    actual = smooth(saliency.astype(np.float32), 0.1)
    np.testing.assert_allclose(actual, expected / np.abs(saliency).max(), atol=1e-6)


@pytest.mark.parametrize("size", [(20, 30), (700, 1300)])
@pytest.mark.parametrize("value", [-1e-45, 0.0, 7.3, 3e38])
def test_smoothing_keeps_a_constant_exactly(size: tuple[int, int], value: float) -> None:
    assert np.unique(smooth(np.full(size, value, np.float32), 0.015)) == np.sign(value)


def test_large_maps_are_reduced_first_and_look_the_same() -> None:
    small, large = smooth(bump(300, 400), 0.03), smooth(bump(1200, 1600), 0.03)
    assert large.shape == (384, FINEST)
    shrunk = Image.fromarray(large).resize((400, 300), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(np.asarray(shrunk), small, atol=0.01)

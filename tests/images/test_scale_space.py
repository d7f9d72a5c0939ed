"""Blur by matrix products, compared with scipy's Gaussian filter with mirrored edges."""

from __future__ import annotations

import pytest
import torch

from tests.networks import inputs
from torchserve_saliency.images.scale_space import ScaleSpace


@pytest.mark.parametrize("shape", [(16, 16), (33, 20)])
def test_blur_equals_a_gaussian_filter_with_mirrored_edges(shape: tuple[int, int]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
    x = inputs(1, 40, dtype=torch.float64)[..., : shape[0], : shape[1]]
    sigmas = [0.05, 0.4, 1.0, 3.0, 20.0]
    found = ScaleSpace(x).at(torch.tensor(sigmas, dtype=torch.float64))
    assert found.dtype == torch.float64
    for sigma, blurred in zip(sigmas, found, strict=True):
        expected = ndimage.gaussian_filter(x[0].numpy(), (0, sigma, sigma), mode="reflect", truncate=8)
        torch.testing.assert_close(blurred, torch.from_numpy(expected), rtol=1e-6, atol=1e-9)


def test_no_blur_keeps_the_picture_and_a_huge_blur_gives_its_mean() -> None:
    x = inputs(1, 24, dtype=torch.float64)
    sharp, flat = ScaleSpace(x).at(torch.tensor([0.0, 500.0]))
    torch.testing.assert_close(sharp, x[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(flat, x[0].mean((1, 2), keepdim=True).expand_as(flat), rtol=0, atol=1e-12)


def test_differences_equal_those_of_neighbouring_scales() -> None:
    scales, sigmas = ScaleSpace(inputs(1, 24, dtype=torch.float64)), torch.tensor([0.0, 0.5, 2.0, 7.0])
    blurred = scales.at(sigmas)
    torch.testing.assert_close(scales.differences(sigmas), blurred[:-1] - blurred[1:], rtol=0, atol=1e-12)


def test_float32_blur_is_close_to_float64() -> None:
    x, sigmas = inputs(1, 224), torch.linspace(0, 50, 5)
    found, exact = ScaleSpace(x).at(sigmas), ScaleSpace(x.double()).at(sigmas)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-5)

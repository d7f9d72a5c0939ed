"""Occlusion, compared with Captum and with a closed form for linear networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, drive, pixel_effects
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.perturbation.occlusion import Occlusion


def reference(lost: Tensor, window: int, stride: int) -> Tensor:
    """Return the mean over the windows that cover each pixel of their total loss, window by window."""
    total, covered = torch.zeros_like(lost), torch.zeros_like(lost)
    top = 0
    while True:
        left = 0
        while True:
            place = slice(top, top + window), slice(left, left + window)
            total[place] += lost[place].sum()
            covered[place] += 1
            if left + window >= lost.shape[1]:
                break
            left += stride
        if top + window >= lost.shape[0]:
            break
        top += stride
    return total / covered


WINDOWS = [(1, 1), (4, 4), (5, 3), (7, 5), (13, 13), (6, 1)]


@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_for_a_linear_network_a_window_loses_the_effect_of_its_pixels(window: int, stride: int) -> None:
    network = Linear(TALL)
    found = drive(network, "occlusion", Occlusion(window, stride, "black"), Objective((1, 3)), TALL).value.values
    for target, values in zip((1, 3), found, strict=True):
        expected = reference(pixel_effects(network, TALL, target, -2.0), window, stride)
        torch.testing.assert_close(values[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("window", "stride"), WINDOWS)
@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
def test_maps_equal_those_of_captum(x: Tensor, window: int, stride: int) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network = made(Modules, dtype=torch.float64)
    found = drive(network, "occlusion", Occlusion(window, stride, "white"), Objective((2,)), x).value.values
    theirs = attr.Occlusion(network).attribute(
        x, (3, window, window), strides=(3, stride, stride), baselines=torch.full_like(x, 2.0), target=2
    )
    torch.testing.assert_close(found, theirs[:, :1].double(), rtol=1e-5, atol=1e-8)  # theirs is float32


def test_the_default_window_is_a_seventh_of_the_shorter_side_with_half_as_stride() -> None:
    network = made(Modules, dtype=torch.float64)
    one, other = (drive(network, "occlusion", p, Objective((2,)), TALL) for p in (Occlusion(), Occlusion(2, 1)))
    torch.testing.assert_close(one.value.values, other.value.values, rtol=0, atol=0)
    assert one.cost.forwards == 1 + 21 * 12

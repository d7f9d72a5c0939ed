"""Blur integrated gradients, compared with a plain loop over scipy's blur and a closed form; completeness."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.methods.gradient.test_smooth_grad import Linear
from tests.methods.test_methods import SCORES, X, difference, reference_gradient, run
from tests.networks import Modules, Tokens, made
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.base import CHUNK
from torchserve_saliency.methods.gradient.blur_integrated_gradients import BlurIntegratedGradients


def blurred(sigma: float) -> Tensor:
    """Return X after scipy's Gaussian filter with mirrored edges."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
    return torch.from_numpy(ndimage.gaussian_filter(X.numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=8))


@pytest.mark.parametrize("steps", [1, CHUNK + 3])
@pytest.mark.parametrize("make", [Modules, Tokens])
def test_the_map_equals_a_plain_loop_for_every_target(make: type[nn.Module], steps: int) -> None:
    network = made(make, dtype=torch.float64)
    found = run(network, "blur_integrated_gradients", BlurIntegratedGradients(steps, 6.0), Objective((2, 0))).values
    for target, values in zip((2, 0), found, strict=True):
        expected = torch.zeros_like(X)
        for step in range(steps):
            sharp, middle, dull = (6.0 * ((step + part) / steps) ** 2 for part in (0, 0.5, 1))
            gradient = reference_gradient(network, blurred(middle), difference(SCORES["logit"], target, None))
            expected += gradient * (blurred(sharp) - blurred(dull))
        torch.testing.assert_close(values[None], expected, rtol=1e-6, atol=1e-10)


def test_for_a_linear_network_the_map_is_the_weights_times_the_removed_detail() -> None:
    network = made(Linear, dtype=torch.float64)
    found = run(network, "blur_integrated_gradients", BlurIntegratedGradients(7, 5.0), Objective((2,)))
    expected = reference_gradient(network, X, lambda logits: logits[2]) * (X - blurred(5.0))
    torch.testing.assert_close(found.values, expected, rtol=1e-6, atol=1e-10)
    assert abs(found.findings[0]["completeness_gap"]) < 1e-12


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("make", [Modules, Tokens])
def test_maps_are_complete(make: type[nn.Module], score: str) -> None:
    p = BlurIntegratedGradients(300, 8.0)
    network = made(make, dtype=torch.float64)
    maps = run(network, "blur_integrated_gradients", p, Objective((2, 0), 4, score))
    for target, found in zip((2, 0), maps.findings, strict=True):
        of = SCORES[score]
        ends = [float(of(row, target) - of(row, 4)) for row in network(torch.cat([X, blurred(8.0)]))]
        assert found["score_difference"] == pytest.approx(ends[0] - ends[1], abs=1e-9)
        assert abs(found["completeness_gap"]) < 1e-2 * max(abs(found["score_difference"]), 0.01)

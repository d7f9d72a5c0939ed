"""RISE, compared with a plain loop over the same masks, and properties of the masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, drive, pixel_effects
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.base import CHUNK
from torchserve_saliency.methods.perturbation.masking import cpu_generator
from torchserve_saliency.methods.perturbation.rise import Rise, masks


def all_masks(p: Rise, x: Tensor) -> Tensor:
    """Return all masks [samples, H, W] of a request, in float64."""
    generator, size = cpu_generator(p.seed), (x.shape[2], x.shape[3])
    counts = [min(CHUNK, p.samples - start) for start in range(0, p.samples, CHUNK)]
    return torch.cat([masks(n, p, size, generator) for n in counts])[:, 0].double()


@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
@pytest.mark.parametrize("samples", [2, CHUNK, CHUNK + 5])
def test_the_map_is_the_sum_of_masks_weighted_by_their_scores(x: Tensor, samples: int) -> None:
    network = made(Modules, dtype=torch.float64)
    p = Rise(samples, cells=4, probability=0.3, baseline="white", seed=5)
    found = drive(network, "rise", p, Objective((1, 3)), x)
    for target, values, finding in zip((1, 3), found.value.values, found.value.findings, strict=True):
        scores = [float(network(x * mask + 2.0 * (1 - mask))[0, target]) for mask in all_masks(p, x)]
        mean = sum(scores) / samples
        expected = torch.zeros(x.shape[2:], dtype=torch.float64)
        for mask, score in zip(all_masks(p, x), scores, strict=True):
            expected += (score - mean) * mask / (samples * 0.3)
        torch.testing.assert_close(values[0], expected - expected.min(), rtol=1e-5, atol=1e-12)
        assert finding["mean_score"] == pytest.approx(mean)


def test_for_a_linear_network_the_map_is_the_pixels_effects_times_the_masks_covariance() -> None:
    network, p = Linear(TALL), Rise(50, cells=3)
    found = drive(network, "rise", p, Objective((2,)), TALL).value.values[0, 0]
    drawn_masks = all_masks(p, TALL).flatten(1)
    centred = drawn_masks - drawn_masks.mean(0)
    seen = centred.T @ centred / 50 @ pixel_effects(network, TALL, 2).flatten() / p.probability
    torch.testing.assert_close(found.flatten(), seen - seen.min(), rtol=1e-6, atol=1e-9)


def test_the_only_pixel_with_an_effect_is_found() -> None:
    network = Linear(X)
    network.weight.data.zero_()
    network.weight.data[2, :, 5, 9] = 1.0
    found = drive(network, "rise", Rise(400, cells=8), Objective((2,)), X.abs()).value.values[0, 0]
    row, column = divmod(int(found.argmax()), 16)
    assert max(abs(row - 5), abs(column - 9)) <= 1


@pytest.mark.parametrize("probability", [0.2, 0.5])
@pytest.mark.parametrize("size", [(32, 32), (23, 50)])
def test_masks_are_smooth_and_shifted_and_show_the_requested_share(size: tuple[int, int], probability: float) -> None:
    found = masks(400, Rise(cells=5, probability=probability), size, torch.Generator().manual_seed(0))
    assert found.shape == (400, 1, *size)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    assert abs(float(found.mean()) - probability) < 0.03
    assert found.diff(dim=3).abs().max() <= 1.01 / (size[1] // 5)  # at most from 0 to 1 over one cell
    assert len({mask.numpy().tobytes() for mask in found}) > 390

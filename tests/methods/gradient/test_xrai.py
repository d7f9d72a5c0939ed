"""XRAI, compared with a plain ranking of masks, and with a closed form for linear networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.networks import Modules, made
from tests.perturbing import TALL, Linear, X, drive, spec_of
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.images.superpixels import segments
from torchserve_saliency.methods.base import Subject, to_picture
from torchserve_saliency.methods.gradient.xrai import SEGMENT_COUNTS, Xrai, rank_regions

Map = NDArray[np.float64]


def reference(attribution: Map, segmentations: list[NDArray[np.int64]], full: bool) -> Map:
    """Return the ranks of a picture's pixels, with the mean attribution of every region computed at every step."""
    masks = [cut == label for cut in segmentations for label in range(cut.max() + 1)]
    covered, ranks = np.zeros(attribution.shape, bool), np.zeros(attribution.shape)
    while not covered.all():
        weighed = [mask & ~covered if full else mask for mask in masks]
        gains = [attribution[mask].mean() if mask.any() else -np.inf for mask in weighed]
        best = int(np.argmax(gains))
        new = masks.pop(best) & ~covered
        ranks[new] = 1 - covered.mean()
        covered |= new
    return ranks


def segmentations(size: tuple[int, int], *counts: int) -> list[NDArray[np.int64]]:
    picture = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    return [segments(picture, count).numpy() for count in counts]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("counts", [(1,), (6,), (20, 9, 4)])
def test_regions_are_ranked_by_mean_attribution(counts: tuple[int, ...], full: bool) -> None:
    found = segmentations((17, 23), *counts)
    for seed in range(3):
        attribution = np.random.default_rng(seed).normal(size=(17, 23))
        np.testing.assert_allclose(
            rank_regions(attribution, found, full), reference(attribution, found, full), rtol=1e-12
        )


def test_overlapping_pixels_count_again_only_with_fast() -> None:
    attribution = np.array([[9.0, 1.0, 2.0]])
    overlapping = [np.array([[0, 0, 1]]), np.array([[0, 1, 1]])]
    np.testing.assert_allclose(rank_regions(attribution, overlapping, full=True), [[1, 1 / 3, 2 / 3]])
    np.testing.assert_allclose(rank_regions(attribution, overlapping, full=False), [[1, 2 / 3, 1 / 3]])


@pytest.mark.parametrize("algorithm", ["full", "fast"])
def test_for_a_linear_network_pixels_count_by_weight_times_distance(algorithm: str) -> None:
    network = Linear(TALL)
    driven = drive(network, "xrai", Xrai(3, algorithm), Objective((1, 3)), TALL)
    picture = to_picture(Subject(TALL, Objective((0,)), spec_of(TALL)))
    regions = [segments(picture, count).numpy() for count in SEGMENT_COUNTS]
    for target, values in zip((1, 3), driven.value.values, strict=True):
        paths = [network.weight[target] * (TALL - start)[0] for start in (-2.0, 2.0)]
        attribution = (sum(paths, torch.zeros(())) / 2).amax(0).detach().numpy()
        expected = torch.from_numpy(rank_regions(attribution, regions, algorithm == "full"))
        torch.testing.assert_close(values[0], expected, rtol=1e-9, atol=1e-12)


def test_a_tenth_of_the_picture_has_values_above_nine_tenths() -> None:
    found = drive(made(Modules, dtype=torch.float64), "xrai", Xrai(4), Objective((2,)), X).value.values
    for share in (0.1, 0.5, 0.9):
        assert float((found > 1 - share).double().mean()) == pytest.approx(share, abs=0.06)
    assert found.max() == 1
    assert found.min() > 0

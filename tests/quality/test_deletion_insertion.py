"""Deletion, insertion and ROAD, compared with plain loops and with curves in closed form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.judging import X, driven, judge
from tests.networks import SIZE, Modules, inputs, made
from torchserve_saliency.methods.baselines import baseline
from torchserve_saliency.quality.deletion_insertion import STEPS, deletion, insertion
from torchserve_saliency.quality.judged import pixel_ranks
from torchserve_saliency.quality.road import SHARES, impute, road

MAPS = inputs(3, seed=9, dtype=torch.float64)
PAIRS = ((1, -1), (4, 0))
PIXELS = SIZE * SIZE


class TwoClasses(nn.Module):
    """Two classes with probabilities 0.5 plus or minus a small multiple of the sum of all pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.8 / PIXELS))

    def forward(self, x: Tensor) -> Tensor:
        share = 0.5 + self.slope * x[:, 0].sum((1, 2))
        return torch.stack([share, 1 - share], 1).log()


def halves() -> Tensor:
    """Return a picture of equally many ones and minus ones in random order."""
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(PIXELS // 2)
    order = torch.randperm(PIXELS, generator=torch.Generator().manual_seed(3))
    return signs[order].view(1, 1, SIZE, SIZE).repeat(1, 3, 1, 1)


def probability(network: nn.Module, pictures: Tensor, target: int) -> list[float]:
    return [float(network(one[None])[0].softmax(0)[target]) for one in pictures]


@pytest.mark.parametrize("fill", ["blur", "mean"])
@pytest.mark.parametrize("insert", [False, True])
def test_the_area_equals_a_plain_loop(fill: str, insert: bool) -> None:
    network = made(Modules, dtype=torch.float64)
    judged = judge(network, MAPS, PAIRS)
    found = driven(network, (insertion if insert else deletion)(judged, fill))
    blurred = baseline("blur", X, judged.subject.spec)
    ground = blurred if fill == "blur" else torch.ones_like(X) * X.mean((2, 3), keepdim=True)
    assert found.shape == (3, 2)
    for m, shown in enumerate(MAPS.sum(1)):
        order = np.argsort(-shown.flatten().numpy())
        pictures = []
        for step in range(STEPS + 1):
            picture, other = (ground, X) if insert else (X, ground)
            flat = picture[0].clone().flatten(1)
            first = order[: step * PIXELS // STEPS]
            flat[:, first] = other[0].flatten(1)[:, first]
            pictures.append(flat.view_as(X[0]))
        for t, (target, _) in enumerate(PAIRS):
            curve = probability(network, torch.stack(pictures), target)
            expected = sum((a + b) / 2 / STEPS for a, b in pairwise(curve))
            assert float(found[m, t]) == pytest.approx(expected, rel=1e-9)


def test_the_curves_of_an_additive_model_are_triangles() -> None:
    """For the best map, the curve falls by 0.4 until half the pixels are replaced and rises again: an area of 0.2."""
    network = made(TwoClasses, dtype=torch.float64)
    picture = halves()
    maps = torch.cat([picture, -picture])
    judged = judge(network, maps, ((0, -1),), x=picture)
    deleted = driven(network, deletion(judged, "mean"))[:, 0]
    inserted = driven(network, insertion(judged, "mean"))[:, 0]
    torch.testing.assert_close(deleted, torch.tensor([0.3, 0.7], dtype=torch.float64))
    torch.testing.assert_close(inserted, torch.tensor([0.7, 0.3], dtype=torch.float64))


def test_a_perfect_map_beats_a_random_one() -> None:
    class UpperLeftOnly(Modules):  # depends on the upper left quarter only
        def forward(self, x: Tensor) -> Tensor:
            seen = x[:, :, :8, :8].square().mean((1, 2, 3))
            return torch.stack([4 * seen, torch.zeros_like(seen)], 1)

    network = made(UpperLeftOnly, dtype=torch.float64)
    perfect = torch.zeros_like(X)
    perfect[..., :8, :8] = 1
    judged = judge(network, torch.cat([perfect, MAPS[:1]]), ((0, -1),))
    for fill in ("blur", "mean"):
        best, random = driven(network, deletion(judged, fill))[:, 0]
        assert best < random - 0.05
        best, random = driven(network, insertion(judged, fill))[:, 0]
        assert best > random + 0.05
    best, random = driven(network, road(judged))[:, 0]
    assert best > random + 0.1


def test_road_equals_a_plain_loop() -> None:
    network = made(Modules, dtype=torch.float64)
    found = driven(network, road(judge(network, MAPS, PAIRS)))
    for m, shown in enumerate(MAPS.sum(1)):
        order = np.argsort(-shown.flatten().numpy())
        for t, (target, _) in enumerate(PAIRS):
            differences = []
            for share in SHARES:
                count = round(share * PIXELS)
                removed = torch.zeros(2, PIXELS, dtype=torch.bool)
                removed[0, order[:count]] = True
                removed[1, order[-count:]] = True
                pictures = [impute(X, mask.view(1, SIZE, SIZE), 0)[0] for mask in removed]
                most, least = probability(network, torch.stack(pictures), target)
                differences.append(least - most)
            assert float(found[m, t]) == pytest.approx(np.mean(differences), rel=1e-6, abs=1e-12)


def test_pixels_are_ranked_by_value_and_ties_at_random() -> None:
    shown = torch.stack([torch.arange(PIXELS * 1.0).view(SIZE, SIZE), torch.zeros(SIZE, SIZE)])
    ordered, tied = pixel_ranks(shown)
    assert ordered.flatten().tolist() == list(range(PIXELS))[::-1]
    assert sorted(tied.flatten().tolist()) == list(range(PIXELS))
    assert (tied.flatten()[:50] < PIXELS / 2).float().mean() == pytest.approx(0.5, abs=0.25)
    torch.testing.assert_close(pixel_ranks(shown)[1], tied)


def test_a_picture_with_fewer_pixels_than_steps_has_finite_scores() -> None:
    class Tiny(Modules):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat([x.mean((2, 3))] * 2 + [x.amax((2, 3))[:, :2]], 1))

    network = made(Tiny, dtype=torch.float64)
    x = inputs(size=3, dtype=torch.float64)
    judged = judge(network, x, ((1, -1),), x=x)
    for score in (deletion(judged, "mean"), insertion(judged, "blur"), road(judged)):
        assert torch.isfinite(driven(network, score)).all()

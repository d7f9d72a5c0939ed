"""Imputation of removed pixels, compared with a direct solver of the linear system and with known solutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.networks import inputs
from torchserve_saliency.quality.road import FEWEST_STEPS, NOISE, fill_gaps, impute


def direct(x: Tensor, removed: Tensor) -> Tensor:
    """Return `x` [1, C, H, W] with the pixels of a mask [H, W] imputed by a direct solver, one equation per pixel."""
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    linalg = pytest.importorskip("scipy.sparse.linalg", reason="scipy is not installed")
    height, width = removed.shape
    places = {place: i for i, place in enumerate(map(tuple, removed.nonzero().tolist()))}
    matrix, known = sparse.lil_matrix((len(places), len(places))), np.zeros((len(places), x.shape[1]))
    for (row, column), i in places.items():
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                near = row + down, column + right
                if (down, right) == (0, 0) or not (0 <= near[0] < height and 0 <= near[1] < width):
                    continue
                weight = 1 / 6 if down * right == 0 else 1 / 12
                matrix[i, i] += weight
                if near in places:
                    matrix[i, places[near]] -= weight
                else:
                    known[i] += weight * x[0, :, near[0], near[1]].numpy()
    solved = x[0].clone()
    for channel in range(x.shape[1]):
        solved[channel][removed] = torch.from_numpy(linalg.spsolve(matrix.tocsc(), known[:, channel]))
    return solved


def masks(size: int) -> Tensor:
    """Return masks [3, 1, size, size]: random four fifths, the middle, and one side."""
    random = torch.rand(size, size, generator=torch.Generator().manual_seed(1)) < 0.8
    middle, side = torch.zeros(2, size, size, dtype=torch.bool)
    middle[size // 5 : -size // 5, size // 5 : -size // 5] = True
    side[:, : size // 2] = True
    return torch.stack([random, middle, side])[:, None]


@pytest.mark.parametrize("size", [16, 19])
def test_enough_steps_solve_the_system(size: int) -> None:
    x, removed = inputs(size=size, dtype=torch.float64), masks(size)
    found = fill_gaps(x, removed, fewest_steps=200)
    for mask, mine in zip(removed[:, 0], found, strict=True):
        torch.testing.assert_close(mine, direct(x, mask), rtol=1e-7, atol=1e-8)


def test_the_default_number_of_steps_is_close_to_the_solution() -> None:
    """The root mean square error is below a tenth of the picture's standard deviation, even for a wide gap."""
    coarse = inputs(size=6, dtype=torch.float64)
    x = torch.nn.functional.interpolate(coarse, size=(48, 48), mode="bicubic")
    removed = masks(48)
    for mask, mine in zip(removed[:, 0], fill_gaps(x, removed, FEWEST_STEPS), strict=True):
        assert (mine - direct(x, mask))[:, mask].square().mean().sqrt() < 0.1 * x.std()


def test_a_gap_in_one_colour_is_filled_with_that_colour() -> None:
    x = torch.full((1, 3, 20, 24), 0.7)
    removed = torch.zeros(1, 1, 20, 24, dtype=torch.bool)
    removed[..., 3:17, 2:20] = True
    torch.testing.assert_close(fill_gaps(x, removed), x)


def test_a_gap_in_a_gradient_continues_the_gradient() -> None:
    x = torch.arange(16.0, dtype=torch.float64).expand(1, 3, 16, 16)
    removed = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    removed[..., 4:10, 5:13] = True
    torch.testing.assert_close(fill_gaps(x, removed, fewest_steps=100), x)


def test_kept_pixels_are_unchanged_and_imputed_pixels_have_noise() -> None:
    x, removed = inputs(), masks(16)
    found = impute(x, removed[:, 0], seed=4)
    kept = ~removed.expand_as(found)
    assert torch.equal(found[kept], x.expand_as(found)[kept])
    noise = (found - fill_gaps(x, removed))[~kept]
    assert float(noise.std()) == pytest.approx(NOISE, rel=0.2)
    torch.testing.assert_close(impute(x, removed[1:2, 0], seed=4), found[1:2])

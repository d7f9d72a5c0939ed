"""Coalitions and orders: their selection and weights, and completeness if there are few enough."""

from __future__ import annotations

from math import comb, factorial

import pytest
import torch

from torchserve_saliency.methods.perturbation.coalitions import coalitions, orders, prefixes


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("spare", [0, 1000])
def test_all_coalitions_are_returned_once_with_the_weights_of_the_paper(count: int, spare: int) -> None:
    present, weights = coalitions(count, 2**count - 2 + spare, generator())
    assert len({tuple(row.tolist()) for row in present}) == len(present) == 2**count - 2
    for row, weight in zip(present, weights, strict=True):
        size = int(row.sum())
        assert float(weight) == pytest.approx((count - 1) / (comb(count, size) * size * (count - size)))


@pytest.mark.parametrize("most", [2, 3, 31, 60, 61, 300])
@pytest.mark.parametrize("count", [9, 30])
def test_of_too_many_coalitions_some_are_drawn_with_their_complements(count: int, most: int) -> None:
    present, weights = coalitions(count, most, generator())
    assert most - 1 <= len(present) <= most
    assert len(weights) == len(present)
    rows = sorted(tuple(row.tolist()) for row in present)
    assert rows == sorted(tuple(row.tolist()) for row in ~present)
    assert int(present.sum(1).min()) > 0
    assert int(present.sum(1).max()) < count


def test_the_smallest_and_largest_sizes_are_complete_and_each_size_keeps_its_weight() -> None:
    present, weights = coalitions(30, 6000, generator())
    sizes = present.sum(1)
    assert [int((sizes == size).sum()) for size in (1, 29, 2, 28)] == [30, 30, 435, 435]
    mass = torch.tensor([29 / (size * (30 - size)) for size in range(1, 30)], dtype=torch.float64)
    assert float(weights.sum()) == pytest.approx(float(mass.sum()))
    found = torch.zeros(29, dtype=torch.float64).index_add_(0, sizes - 1, weights)
    torch.testing.assert_close(found, mass, rtol=0.35, atol=0)


def test_one_part_has_no_coalitions() -> None:
    present, weights = coalitions(1, 100, generator())
    assert (present.shape, weights.shape) == ((0, 1), (0,))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_orders_are_returned_once_if_there_are_few_enough(count: int) -> None:
    found = orders(count, factorial(count), generator())
    assert len({tuple(order.tolist()) for order in found}) == len(found) == factorial(count)


@pytest.mark.parametrize(("count", "most"), [(4, 23), (40, 10)])
def test_random_orders_are_permutations(count: int, most: int) -> None:
    found = orders(count, most, generator())
    assert found.shape == (most, count)
    assert (found.sort(1).values == torch.arange(count)).all()
    assert not torch.equal(found, orders(count, most, generator(1)))


@pytest.mark.parametrize("count", [1, 2, 30, 300])
def test_coalitions_grow_by_one_part_at_a_time_in_the_order(count: int) -> None:
    order = orders(count, 5, generator())
    seen = []
    for block, present in prefixes(order):
        assert present.shape == (len(block), count - 1, count)
        for one, masks in zip(block, present, strict=True):
            for step, mask in enumerate(masks):
                assert set(mask.nonzero()[:, 0].tolist()) == set(one[: step + 1].tolist())
        seen.append(block)
    assert torch.equal(torch.cat(seen), order)

"""Coalitions (sets of present parts) and orders of the parts of a picture, for estimates of Shapley values."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import combinations, permutations
from math import comb, factorial

import torch
from torch import Tensor

from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, Rows
from torchserve_saliency.methods.perturbation.masking import Parts, scores

_BLOCK = 512  # rows of masks made at a time


def empty_score_and_change(
    parts: Parts, objective: Objective, clean: Tensor
) -> Generator[Rows, Answer, tuple[Tensor, Tensor]]:
    """Return the score [T] without any part, and the change [T] from there to the score `clean` with all parts."""
    empty = yield from scores(parts, objective, torch.zeros(1, parts.count, dtype=torch.bool))
    return empty[:, 0], clean - empty[:, 0]


def coalitions(count: int, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return at most `most` coalitions of `count` parts, booleans [n, count], and their weights [n].

    Weights are those of Lundberg and Lee (2017), who exclude the empty and the full coalition. If there are no more
    than `most` coalitions, all are returned. Otherwise sizes are taken whole, smallest and largest first, as long as
    sampling is expected to draw a size at least as often as it has coalitions. The remaining rows are random
    coalitions of the other sizes, each with its complement.
    """
    rows_left, size_weights = most, {size: _size_weight(count, size) for size in range(1, count // 2 + 1)}
    present, weights = [torch.zeros(0, count, dtype=torch.bool)], [torch.zeros(0, dtype=torch.float64)]
    for size in list(size_weights):
        number = comb(count, size) * _paired_sizes(count, size)
        expected = rows_left * size_weights[size] / sum(size_weights.values())
        if number > rows_left or (2**count - 2 > most and number > expected):
            break
        rows_left -= number
        present.append(_all_of_size(count, size))
        weights.append(torch.full((number,), size_weights.pop(size) / number, dtype=torch.float64))
    if size_weights and rows_left >= 2:
        drawn = _random_coalitions(count, size_weights, rows_left // 2, generator)
        present.append(drawn)
        weights.append(torch.full((len(drawn),), sum(size_weights.values()) / len(drawn), dtype=torch.float64))
    return torch.cat(present), torch.cat(weights)


def orders(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Return orders of the parts [n, count]: all orders if there are at most `most`, otherwise `most` random ones."""
    if count <= 12 and factorial(count) <= most:
        return torch.tensor(list(permutations(range(count))))
    return torch.rand(most, count, generator=generator).argsort(1)


def prefixes(order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield blocks of orders [n, count], with the coalitions that grow in each order, booleans [n, count - 1, count].

    Coalition i of an order holds its first i + 1 parts; the full coalition is left out.
    """
    count = order.shape[1]
    for block in order.split(max(1, _BLOCK // count)):
        yield block, block.argsort(1)[:, None, :] <= torch.arange(count - 1)[:, None]


def _size_weight(count: int, size: int) -> float:
    """Return the total weight of all coalitions of this size or of the complementary size."""
    return _paired_sizes(count, size) * (count - 1) / (size * (count - size))


def _paired_sizes(count: int, size: int) -> int:
    """Return 1 if a size equals its complementary size (`count` - `size`), otherwise 2."""
    return 1 if 2 * size == count else 2


def _all_of_size(count: int, size: int) -> Tensor:
    """Return all coalitions of this size and of the complementary size."""
    members = torch.tensor(list(combinations(range(count), size)))
    present = torch.zeros(len(members), count, dtype=torch.bool).scatter_(1, members, True)
    return present if _paired_sizes(count, size) == 1 else torch.cat([present, ~present])


def _random_coalitions(count: int, size_weights: dict[int, float], pairs: int, generator: torch.Generator) -> Tensor:
    """Return `pairs` random coalitions and their complements, with sizes in proportion to their weights."""
    chosen = torch.multinomial(torch.tensor(list(size_weights.values())), pairs, replacement=True, generator=generator)
    sizes = torch.tensor(list(size_weights))[chosen]
    ranks = torch.rand(pairs, count, generator=generator).argsort(1).argsort(1)
    present = ranks < sizes[:, None]
    return torch.cat([present, ~present])

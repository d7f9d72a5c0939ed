"""Which parts of a picture are there together: what Shapley values are computed from."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import combinations, permutations
from math import comb, factorial

import torch
from torch import Tensor

from saliency.methods.masking import Parts, scores
from saliency.objective import Objective
from saliency.rows import Answer, Rows

_BLOCK = 512  # rows of masks that are made at a time


def ends(parts: Parts, objective: Objective, clean: Tensor) -> Generator[Rows, Answer, tuple[Tensor, Tensor]]:
    """Return the score [T] of nothing, and the change [T] from there to everything, whose score is `clean`."""
    nothing = yield from scores(parts, objective, torch.zeros(1, parts.count, dtype=torch.bool))
    return nothing[:, 0], clean - nothing[:, 0]


def coalitions(count: int, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return coalitions of `count` parts, booleans [n, count], n at most `most`, and their weights [n].

    Neither the empty nor the full one is among them; weights are those of Lundberg and Lee (2017). All are taken
    where they are no more than `most`; else all of the sizes that would be drawn as often as they have coalitions,
    the outermost first, and of the others some are drawn, each with its complement.
    """
    left, mass = most, {size: _mass(count, size) for size in range(1, count // 2 + 1)}
    present, weights = [torch.zeros(0, count, dtype=torch.bool)], [torch.zeros(0, dtype=torch.float64)]
    for size in list(mass):
        number = comb(count, size) * _sides(count, size)
        if number > left or (2**count - 2 > most and number > left * mass[size] / sum(mass.values())):
            break
        left -= number
        present.append(_all(count, size))
        weights.append(torch.full((number,), mass.pop(size) / number, dtype=torch.float64))
    if mass and left >= 2:
        present.append(_some(count, mass, left // 2, generator))
        weights.append(torch.full((len(present[-1]),), sum(mass.values()) / len(present[-1]), dtype=torch.float64))
    return torch.cat(present), torch.cat(weights)


def orders(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Return orders of the parts [n, count]: all where there are no more than `most`, else `most` random ones."""
    if count <= 12 and factorial(count) <= most:
        return torch.tensor(list(permutations(range(count))))
    return torch.rand(most, count, generator=generator).argsort(1)


def growing(order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a block of orders [n, count] at a time, and who is there after each but the last has come.

    The latter are booleans [n, count - 1, count].
    """
    count = order.shape[1]
    for block in order.split(max(1, _BLOCK // count)):
        yield block, block.argsort(1)[:, None, :] <= torch.arange(count - 1)[:, None]


def _mass(count: int, size: int) -> float:
    """Return the weight of all coalitions of a size and of its complement's."""
    return _sides(count, size) * (count - 1) / (size * (count - size))


def _sides(count: int, size: int) -> int:
    """Return how many sizes a size and its complement's are: 1 in the middle, else 2."""
    return 1 if 2 * size == count else 2


def _all(count: int, size: int) -> Tensor:
    """Return all coalitions of a size and of its complement's."""
    members = torch.tensor(list(combinations(range(count), size)))
    present = torch.zeros(len(members), count, dtype=torch.bool).scatter_(1, members, True)
    return present if _sides(count, size) == 1 else torch.cat([present, ~present])


def _some(count: int, mass: dict[int, float], pairs: int, generator: torch.Generator) -> Tensor:
    """Return random coalitions and their complements, of sizes as probable as their mass."""
    chosen = torch.multinomial(torch.tensor(list(mass.values())), pairs, replacement=True, generator=generator)
    sizes = torch.tensor(list(mass))[chosen]
    ranks = torch.rand(pairs, count, generator=generator).argsort(1).argsort(1)
    present = ranks < sizes[:, None]
    return torch.cat([present, ~present])

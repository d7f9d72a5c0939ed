"""Cases made of drawn leaves, whose lesions are known."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tools.evaluation.case import Case
from torchserve_saliency_cli.leaves.draw import DISEASES, draw

FIRST_SEED = 3_000_000
SEED_DISTANCE = 100_000  # between the leaves with one disease and those with two


def single_cases(count: int) -> Iterator[Case]:
    """Yield `count` leaves with one disease, which is the target."""
    for seed, disease in zip(range(FIRST_SEED, FIRST_SEED + count), itertools.cycle(DISEASES), strict=False):
        leaf = draw(seed, [disease])
        yield Case(leaf.image, (disease,), (leaf.masks[disease],), seed)


def double_cases(count: int) -> Iterator[Case]:
    """Yield `count` leaves with two diseases, both of which are targets."""
    first, pairs = FIRST_SEED + SEED_DISTANCE, itertools.cycle(itertools.combinations(DISEASES, 2))
    for seed, pair in zip(range(first, first + count), pairs, strict=False):
        leaf = draw(seed, pair)
        yield Case(leaf.image, tuple(pair), tuple(leaf.masks[disease] for disease in pair), seed)

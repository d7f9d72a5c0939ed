"""Connected components of a label map, and merging of small regions into their neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LabelMap = NDArray[np.int64]


def connected_parts(labels: LabelMap) -> LabelMap:
    """Return the 4-connected components of equal labels [H, W], numbered from 0 in reading order."""
    starts = np.ones(labels.shape, bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    runs = starts.ravel().cumsum().reshape(labels.shape) - 1
    same = labels[1:] == labels[:-1]
    first, second = _without_repeats(runs[:-1][same], runs[1:][same])
    roots = _component_roots(int(runs[-1, -1]) + 1, first, second)
    _, numbers = np.unique(roots, return_inverse=True)
    found: LabelMap = numbers.ravel()[runs]
    return found


def merge_small_regions(labels: LabelMap, colours: NDArray[np.float32], most: int, smallest: int) -> LabelMap:
    """Return a label map [H, W] of the largest regions only, numbered from 0 in reading order.

    At most `most` regions are kept, and only if they have at least `smallest` pixels; the largest one is always kept.
    Every other region is merged into the neighbour with the nearest mean of `colours` [C, H * W].
    """
    sizes = np.bincount(labels.ravel())
    means = np.stack([np.bincount(labels.ravel(), channel) for channel in colours], 1) / sizes[:, None]
    largest = np.argsort(-sizes, kind="stable")[:most]
    kept = np.zeros(len(sizes), bool)
    kept[largest[sizes[largest] >= min(smallest, sizes[largest[0]])]] = True
    into = _absorbing_regions(kept, means, *_touching_pairs(labels))
    _, numbers = np.unique(into, return_inverse=True)
    numbered: LabelMap = numbers.ravel()[labels]
    return numbered


def _absorbing_regions(
    kept: NDArray[np.bool_], means: NDArray[np.float64], first: LabelMap, second: LabelMap
) -> LabelMap:
    """Return the kept region that each region is merged into, given the pairs of touching regions."""
    into = np.where(kept, np.arange(len(kept)), -1)
    while (into < 0).any():
        undecided = (into[first] < 0) & (into[second] >= 0)
        small, near = first[undecided], into[second[undecided]]
        distances = ((means[small] - means[near]) ** 2).sum(1)
        order = np.lexsort((near, distances, small))
        regions, nearest = np.unique(small[order], return_index=True)
        into[regions] = near[order][nearest]
    return into


def _touching_pairs(labels: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Return the pairs of touching regions, each pair in both orders."""
    across, down = (labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])
    touching = [(a[a != b], b[a != b]) for a, b in (across, down)]
    first, second = _without_repeats(*(np.concatenate(side) for side in zip(*touching, strict=True)))
    return np.concatenate([first, second]), np.concatenate([second, first])


def _without_repeats(first: LabelMap, second: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Return the pairs without those equal to the pair before them."""
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new]


def _component_roots(count: int, first: LabelMap, second: LabelMap) -> LabelMap:
    """Return the smallest node of each node's connected component, for nodes 0 to `count` - 1 and their edges."""
    roots = np.arange(count)
    while True:
        low = np.minimum(roots[first], roots[second])
        if (roots[first] == low).all() and (roots[second] == low).all():
            return roots
        np.minimum.at(roots, roots[first], low)
        np.minimum.at(roots, roots[second], low)
        while (roots != roots[roots]).any():
            roots = roots[roots]

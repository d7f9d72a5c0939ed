"""Connected regions of a picture: equal labels taken apart, small parts joined to what surrounds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def parts(labels: Labels) -> Labels:
    """Return the connected parts of equal labels [H, W] (four neighbours), numbered from 0 in reading order."""
    begins = np.ones(labels.shape, bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    runs = begins.ravel().cumsum().reshape(labels.shape) - 1
    same = labels[1:] == labels[:-1]
    first, second = _once(runs[:-1][same], runs[1:][same])
    roots = _roots(int(runs[-1, -1]) + 1, first, second)
    _, numbers = np.unique(roots, return_inverse=True)
    found: Labels = numbers.ravel()[runs]
    return found


def settled(labels: Labels, colours: NDArray[np.float32], most: int, smallest: int) -> Labels:
    """Return labels [H, W], 0 to n - 1 in reading order, in which only the largest regions are left.

    Kept are those of `smallest` pixels or more, `most` of them; any other joins, whole, the neighbour whose mean
    of `colours` [C, H * W] is nearest.
    """
    sizes = np.bincount(labels.ravel())
    means = np.stack([np.bincount(labels.ravel(), channel) for channel in colours], 1) / sizes[:, None]
    largest = np.argsort(-sizes, kind="stable")[:most]
    kept = np.zeros(len(sizes), bool)
    kept[largest[sizes[largest] >= min(smallest, sizes[largest[0]])]] = True
    into = _joined(kept, means, *_borders(labels))
    _, numbers = np.unique(into, return_inverse=True)
    whole: Labels = numbers.ravel()[labels]
    return whole


def _joined(kept: NDArray[np.bool_], means: NDArray[np.float64], first: Labels, second: Labels) -> Labels:
    """Return the kept region that each region becomes part of, given the pairs that touch."""
    into = np.where(kept, np.arange(len(kept)), -1)
    while (into < 0).any():
        open_ = (into[first] < 0) & (into[second] >= 0)
        small, near = first[open_], into[second[open_]]
        apart = ((means[small] - means[near]) ** 2).sum(1)
        order = np.lexsort((near, apart, small))
        regions, nearest = np.unique(small[order], return_index=True)
        into[regions] = near[order][nearest]
    return into


def _borders(labels: Labels) -> tuple[Labels, Labels]:
    """Return the pairs of regions that touch, each both ways round."""
    across, down = (labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])
    touching = [(a[a != b], b[a != b]) for a, b in (across, down)]
    first, second = _once(*(np.concatenate(side) for side in zip(*touching, strict=True)))
    return np.concatenate([first, second]), np.concatenate([second, first])


def _once(first: Labels, second: Labels) -> tuple[Labels, Labels]:
    """Return pairs without those that repeat the pair before."""
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new]


def _roots(count: int, first: Labels, second: Labels) -> Labels:
    """Return the least member of each of `count` nodes' connected component, given the edges."""
    roots = np.arange(count)
    while True:
        low = np.minimum(roots[first], roots[second])
        if (roots[first] == low).all() and (roots[second] == low).all():
            return roots
        np.minimum.at(roots, roots[first], low)
        np.minimum.at(roots, roots[second], low)
        while (roots != roots[roots]).any():
            roots = roots[roots]

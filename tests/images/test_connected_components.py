"""Connected components compared with SciPy's, and merging of small regions."""

from __future__ import annotations

import numpy as np
import pytest

from torchserve_saliency.images.connected_components import LabelMap, connected_parts, merge_small_regions


def spiral(size: int) -> LabelMap:
    """Return a label map of zeros with an inward spiral of ones."""
    labels = np.zeros((size, size), np.int64)
    y, x, dy, dx = 0, 0, 0, 1
    for length in [size - 1] + [n for n in range(size - 1, 1, -2) for _ in range(2)]:
        for _ in range(length):
            labels[y, x] = 1
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    return labels


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (23, 31)])
@pytest.mark.parametrize("labels", [1, 2, 5])
def test_components_equal_those_of_scipy(size: tuple[int, int], labels: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
    picture = np.random.default_rng(0).integers(0, labels, size)
    found = connected_parts(picture)
    total = sum(ndimage.label(picture == label)[1] for label in range(labels))
    assert found.max() + 1 == total
    for label in range(labels):
        theirs, count = ndimage.label(picture == label)
        for number in range(1, count + 1):
            assert len(np.unique(found[theirs == number])) == 1


def test_a_spiral_is_one_component() -> None:
    found = connected_parts(spiral(41))
    assert found.max() == 1
    np.testing.assert_array_equal(found == found[0, 0], spiral(41) == 1)


def test_a_small_region_joins_the_neighbour_with_the_nearest_colour() -> None:
    labels = np.zeros((6, 9), np.int64)
    labels[:, 3:6] = 1
    labels[:, 6:] = 2
    labels[2, 4:7] = 3  # lies between 1 and 2
    for shade, joined in ((0.9, 1), (0.1, 2)):
        colours = np.choose(labels, [0.5, 1.0, 0.0, shade]).astype(np.float32).reshape(1, -1)
        whole = merge_small_regions(labels, colours, 10, 4)
        assert set(np.unique(whole)) == {0, 1, 2}
        assert (whole[2, 4:7] == whole[0, [3, 6][joined - 1]]).all()


def test_a_small_region_inside_small_regions_joins_the_same_region_as_they_do() -> None:
    labels = np.zeros((9, 9), np.int64)
    labels[2:7, 2:7] = 1
    labels[3:6, 3:6] = 2
    labels[4, 4] = 3
    whole = merge_small_regions(labels, np.zeros((1, 81), np.float32), 10, 20)
    assert not whole.any()


def test_only_the_largest_regions_are_kept_and_always_at_least_one() -> None:
    labels = np.repeat(np.arange(4), [2, 5, 3, 4])[None]
    colours = np.zeros((1, 14), np.float32)
    np.testing.assert_array_equal(merge_small_regions(labels, colours, 2, 1), [[0] * 10 + [1] * 4])
    assert not merge_small_regions(labels, colours, 4, 1000).any()

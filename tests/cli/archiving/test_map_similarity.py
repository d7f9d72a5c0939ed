"""The similarity and complexity of maps agree with plain references."""

import numpy as np
import pytest
from scipy.stats import rankdata

from torchserve_saliency_cli.archiving.map_similarity import BINS, WINDOW, Map, complexity, scaled, spearman, ssim


def pair(ties: bool = False) -> tuple[Map, Map]:
    """Return two correlated maps [14, 17]."""
    generator = np.random.default_rng(0)
    first = generator.exponential(size=(14, 17))
    second = first + generator.exponential(size=(14, 17))
    return (np.maximum(first.round() - 1, 0), second.round()) if ties else (first, second)


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_correlation_is_that_of_the_ranks(ties: bool) -> None:
    first, second = pair(ties)
    ranks = [rankdata(each.ravel()) for each in (first, second)]
    assert spearman(first, second) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-12)
    assert spearman(first, np.exp(first)) == pytest.approx(1)
    assert spearman(first, -first) == pytest.approx(-1)
    assert spearman(first, np.ones_like(first)) == 0


def test_the_structural_similarity_is_that_of_a_plain_loop() -> None:
    a, b = map(scaled, pair())
    values = []
    for top in range(a.shape[0] - WINDOW + 1):
        for left in range(a.shape[1] - WINDOW + 1):
            x, y = (m[top : top + WINDOW, left : left + WINDOW].ravel() for m in (a, b))
            (vx, c), (_, vy) = np.cov(x, y)
            near = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
            values.append(near * (2 * c + 9e-4) / (vx + vy + 9e-4))
    assert ssim(*pair()) == pytest.approx(float(np.mean(values)), abs=1e-12)
    assert 0.1 < ssim(*pair()) < 0.9


def test_a_map_is_similar_to_itself_at_any_scale_and_if_it_is_smaller_than_the_window() -> None:
    first, second = pair()
    assert ssim(first, 1e-9 * first) == pytest.approx(1)
    for height, width in ((3, 4), (4, 4), (2, 9), (1, 1)):
        small = first[:height, :width]
        assert ssim(small, small) == pytest.approx(1)
    assert ssim(first, np.zeros_like(first)) < ssim(first, second)


def test_complexity_is_the_entropy_of_the_histogram() -> None:
    first, _ = pair()
    counts, _ = np.histogram(scaled(first), BINS, (0, 1))
    shares = counts[counts > 0] / counts.sum()
    assert complexity(first) == pytest.approx(-(shares * np.log2(shares)).sum())
    assert complexity(np.ones((4, 4))) == 0
    assert complexity(np.zeros((4, 4))) == 0

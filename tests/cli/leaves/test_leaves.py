"""The embedded model: its pictures, masks and weights, and the cases of its evaluation."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch

from tools.evaluation.leaf_cases import double_cases, single_cases
from tools.train_leaves.__main__ import WEIGHTS
from tools.train_leaves.pictures import PAIRS, SINGLES, draw_pictures, present
from tools.train_leaves.training import accuracy, both_recognised
from torchserve_saliency_cli.leaves.draw import CLASSES, DISEASES, draw
from torchserve_saliency_cli.leaves.network import LeafNet
from torchserve_saliency_cli.leaves.shapes import blade, random_shape

FRESH = 4_000_000
KINDS = SINGLES + PAIRS
LABELS = WEIGHTS.with_name("labels.txt")


@pytest.fixture(scope="module")
def network() -> LeafNet:
    net = LeafNet()
    net.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return net.eval()


def pixels(seed: int, *diseases: str) -> np.ndarray:
    return np.asarray(draw(seed, diseases).image).astype(int)


@pytest.mark.parametrize("diseases", KINDS, ids=lambda kind: "+".join(kind) or "healthy")
def test_a_seed_draws_the_same_picture_again(diseases: tuple[str, ...]) -> None:
    first, second = draw(5, diseases), draw(5, tuple(reversed(diseases)))
    assert first.image.tobytes() == second.image.tobytes()
    assert all(np.array_equal(first.masks[name], second.masks[name]) for name in DISEASES)


def test_seeds_draw_different_pictures() -> None:
    assert np.abs(pixels(5, "rust") - pixels(6, "rust")).mean() > 20


@pytest.mark.parametrize("diseases", KINDS, ids=lambda kind: "+".join(kind) or "healthy")
def test_a_leaf_has_the_size_label_and_masks_of_its_diseases(diseases: tuple[str, ...]) -> None:
    leaf = draw(7, diseases)
    assert (leaf.image.size, leaf.image.mode) == ((224, 224), "RGB")
    assert leaf.label == (" and ".join(diseases) or "healthy")
    assert set(leaf.masks) == set(DISEASES)
    assert {name for name, mask in leaf.masks.items() if mask.any()} == set(diseases)
    assert all(mask.shape == (224, 224) and mask.dtype == bool for mask in leaf.masks.values())


def test_an_unknown_disease_is_refused() -> None:
    with pytest.raises(ValueError, match="no disease is named 'mildew'"):
        draw(0, ["mildew"])


@pytest.mark.parametrize("disease", DISEASES)
def test_a_mask_covers_the_changes_of_its_disease(disease: str) -> None:
    for seed in range(20, 26):
        mask = draw(seed, [disease]).masks[disease]
        change = np.abs(pixels(seed, disease) - pixels(seed)).max(axis=2)
        assert np.mean(change[mask] > 12) > 0.8, "the mask contains few unchanged pixels"
        assert change[mask].sum() > 0.75 * change.sum(), "few changes are outside the mask"


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_the_masks_of_two_diseases_do_not_overlap(pair: tuple[str, str]) -> None:
    for seed in range(30, 36):
        first, second = (draw(seed, pair).masks[name] for name in pair)
        assert not np.any(first & second)
        assert min(first.sum(), second.sum()) > 40


@pytest.mark.parametrize("disease", DISEASES)
def test_lesions_lie_on_the_leaf(disease: str) -> None:
    for seed in range(40, 46):
        cover = blade(random_shape(np.random.default_rng([seed, 0]))).cover
        assert not np.any(draw(seed, [disease]).masks[disease] & (cover <= 0.5))


def test_the_background_does_not_depend_on_the_disease() -> None:
    for seed in range(50, 54):
        outside = blade(random_shape(np.random.default_rng([seed, 0]))).cover == 0
        for disease in DISEASES:
            assert np.array_equal(pixels(seed, disease)[outside], pixels(seed)[outside])


def test_labels_are_the_classes() -> None:
    assert tuple(LABELS.read_text().split("\n")[:-1]) == CLASSES


@pytest.mark.parametrize(
    ("diseases", "expected"),
    [((), [1, 0, 0, 0]), (("scab",), [0, 0, 1, 0]), (("rust", "black rot"), [0, 1, 0, 1])],
)
def test_present(diseases: tuple[str, ...], expected: list[float]) -> None:
    assert present(diseases) == expected


def test_the_weights_are_small_and_fit(network: LeafNet) -> None:
    assert WEIGHTS.stat().st_size < 1_500_000
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


def test_fresh_leaves_are_recognised(network: LeafNet) -> None:
    assert accuracy(network, draw_pictures(FRESH, 80, SINGLES)) >= 0.95


def test_both_diseases_of_fresh_leaves_are_recognised(network: LeafNet) -> None:
    assert both_recognised(network, draw_pictures(FRESH + 80, 30, PAIRS)) >= 0.9


def test_the_logit_falls_if_the_lesions_are_removed(network: LeafNet) -> None:
    """The healthy leaf's pixels inside the mask lower the logit of the disease."""
    for seed, disease in zip(range(60, 72), itertools.cycle(DISEASES)):
        sick, healthy = draw(seed, [disease]), pixels(seed)
        removed = np.where(sick.masks[disease][..., None], healthy, np.asarray(sick.image)).astype(np.uint8)
        both = torch.from_numpy(np.stack([np.asarray(sick.image), removed])).permute(0, 3, 1, 2)
        before, after = network(both / 127.5 - 1)[:, CLASSES.index(disease)].tolist()
        assert before > after + 1


def test_the_targets_of_cases_are_diseases_of_the_leaf() -> None:
    ones, twos = list(single_cases(4)), list(double_cases(3))
    assert [c.targets for c in ones] == [("rust",), ("scab",), ("black rot",), ("rust",)]
    assert [c.targets for c in twos] == [tuple(pair) for pair in PAIRS]
    assert all(mask.any() for c in ones + twos for mask in c.masks)


def test_the_network_file_needs_only_torch() -> None:
    source = WEIGHTS.with_name("network.py").read_text()
    imported = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert {name.split(".")[0] for name in imported} <= {"torch", *sys.stdlib_module_names}

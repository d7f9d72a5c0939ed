"""Superpixels cover the picture, are connected, follow edges and are deterministic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from torchserve_saliency.images.connected_components import connected_parts
from torchserve_saliency.images.superpixels import SUPERPIXELS, lab, rows_and_columns, segments


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def scene(height: int = 60, width: int = 80) -> Tensor:
    """Return a smooth picture [3, H, W] with a disc and some noise."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    ground = torch.stack([x, y, 1 - x]) * 0.6
    disc = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06).float()
    return (
        ground * (1 - disc) + disc * torch.tensor([0.9, 0.8, 0.1])[:, None, None] + 0.05 * noise(3, height, width)
    ).clamp(0, 1)


def used(labels: Tensor) -> list[int]:
    found: list[int] = labels.unique().tolist()
    return found


@pytest.mark.parametrize("kind", SUPERPIXELS)
@pytest.mark.parametrize("shape", [(3, 60, 80), (1, 60, 80), (4, 37, 91), (3, 7, 200), (3, 32, 32), (3, 1, 1)])
@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_labels_run_from_0_without_gaps_and_stay_below_the_count(kind: str, shape: tuple[int, ...], count: int) -> None:
    labels = segments(noise(*shape), count, kind)
    assert labels.shape == shape[1:]
    assert used(labels) == list(range(len(used(labels))))
    assert len(used(labels)) <= count


@pytest.mark.parametrize("kind", SUPERPIXELS)
@pytest.mark.parametrize("picture", [scene(), noise(3, 60, 80), torch.zeros(3, 60, 80)])
def test_every_superpixel_is_connected(kind: str, picture: Tensor) -> None:
    labels = segments(picture, 40, kind)
    assert int(connected_parts(labels.numpy()).max()) == int(labels.max())


@pytest.mark.parametrize("kind", SUPERPIXELS)
@pytest.mark.parametrize("count", [12, 25, 50, 200])
def test_the_number_of_superpixels_is_close_to_the_count(kind: str, count: int) -> None:
    assert 0.75 * count <= len(used(segments(scene(120, 160), count, kind))) <= count


@pytest.mark.parametrize("count", [6, 50])
@pytest.mark.parametrize("size", [(22, 13), (120, 160)])
def test_noise_is_split_into_many_superpixels(size: tuple[int, int], count: int) -> None:
    labels = segments(noise(3, *size), count, "slic")
    assert 0.5 * count <= len(used(labels)) <= count
    assert int(connected_parts(labels.numpy()).max()) == int(labels.max())
    assert labels.flatten().bincount().max() < 0.5 * labels.numel()


@pytest.mark.parametrize("kind", SUPERPIXELS)
def test_there_are_never_more_superpixels_than_pixels(kind: str) -> None:
    assert len(used(segments(torch.zeros(3, 5, 4), 500, kind))) == 20
    assert len(used(segments(noise(3, 5, 4), 500, kind))) <= 20


@pytest.mark.parametrize("kind", SUPERPIXELS)
def test_superpixels_are_deterministic(kind: str) -> None:
    assert torch.equal(segments(scene(), 30, kind), segments(scene(), 30, kind))


@pytest.mark.parametrize("size", [(60, 80), (61, 83), (224, 224), (20, 90)])
@pytest.mark.parametrize("count", [9, 50])
def test_a_picture_of_one_colour_gives_a_grid(size: tuple[int, int], count: int) -> None:
    plain = torch.full((3, *size), 0.4)
    assert torch.equal(segments(plain, count, "slic"), segments(plain, count, "grid"))


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_no_superpixel_crosses_the_edge_of_two_colours(slope: float) -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    side = x + slope * y > 41
    picture = torch.where(
        side, torch.tensor([0.9, 0.2, 0.1])[:, None, None], torch.tensor([0.1, 0.2, 0.8])[:, None, None]
    )
    labels = segments(picture, 24, "slic")
    assert not set(used(labels[side])) & set(used(labels[~side]))
    crossing = segments(picture, 24, "grid")
    assert set(used(crossing[side])) & set(used(crossing[~side]))


def test_superpixels_follow_edges_better_than_a_grid() -> None:
    picture = scene(120, 160)

    def left(kind: str) -> float:
        labels = segments(picture, 40, kind)
        return float(sum(picture[:, labels == one].var(1).sum() * (labels == one).sum() for one in used(labels)))

    assert left("slic") < 0.5 * left("grid")


@pytest.mark.parametrize(
    ("size", "count", "grid"),
    [
        ((224, 224), 50, (7, 7)),
        ((224, 224), 13, (3, 4)),
        ((224, 112), 50, (10, 5)),
        ((8, 800), 50, (1, 50)),
        ((800, 8), 50, (50, 1)),
        ((5, 4), 500, (5, 4)),
        ((224, 224), 3, (1, 3)),
    ],
)
def test_the_grid_is_close_to_the_count(size: tuple[int, int], count: int, grid: tuple[int, int]) -> None:
    assert rows_and_columns(*size, count) == grid


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_cielab_colours_equal_tabulated_values(rgb: tuple[float, ...], expected: tuple[float, ...]) -> None:
    found = lab(torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1)).flatten()
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_one_channel_is_grey_and_a_fourth_is_ignored() -> None:
    grey = noise(1, 6, 6)
    torch.testing.assert_close(lab(grey), lab(grey.expand(3, -1, -1)))
    assert lab(grey)[1:].abs().max() < 0.05
    four = noise(4, 6, 6)
    torch.testing.assert_close(lab(four), lab(four[:3]))

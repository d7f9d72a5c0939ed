"""Layers with a grid: found, unfolded, captured, and left as they were."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from saliency.layers import find_layers, to_grid
from tests.networks import Flat, Modules, Tokens, inputs, made


@pytest.mark.parametrize(
    ("shape", "size", "grid"),
    [
        ((2, 8, 7, 7), (224, 224), (2, 8, 7, 7)),
        ((2, 7, 7, 8), (224, 224), (2, 8, 7, 7)),
        ((2, 4, 6, 10), (64, 96), (2, 10, 4, 6)),
        ((2, 9, 4, 6), (64, 96), (2, 9, 4, 6)),
        ((2, 197, 8), (224, 224), (2, 8, 14, 14)),
        ((2, 196, 8), (224, 224), (2, 8, 14, 14)),
        ((2, 201, 8), (224, 224), (2, 8, 14, 14)),
        ((2, 1 + 4 * 6, 8), (64, 96), (2, 8, 4, 6)),
        ((2, 8, 1, 1), (224, 224), None),
        ((2, 12, 197, 64), (224, 224), None),
        ((2, 1000), (224, 224), None),
        ((2, 5, 8), (224, 224), (2, 8, 2, 2)),
    ],
)
def test_activations_unfold_to_their_grid(
    shape: tuple[int, ...], size: tuple[int, int], grid: tuple[int, ...] | None
) -> None:
    found = to_grid(torch.zeros(shape), size)
    assert (None if found is None else tuple(found.shape)) == grid


def test_tokens_stand_at_their_patches() -> None:
    tokens = torch.arange(1 + 4 * 6).view(1, -1, 1).float()
    grid = to_grid(tokens, (64, 96))
    assert grid is not None
    assert grid[0, 0].tolist() == [[1 + 6 * r + c for c in range(6)] for r in range(4)]


def test_the_default_is_the_last_map_of_a_convolutional_network() -> None:
    network = made(Modules)
    found = find_layers(network, network, inputs())
    assert (found.names, found.default) == (("first", "second", "relu"), "relu")


def test_a_class_token_network_is_read_before_its_last_attention() -> None:
    network = made(Tokens)
    assert find_layers(network, network, inputs()).default == "norm"


def test_a_network_without_a_grid_has_no_default() -> None:
    network = made(Flat)
    assert find_layers(network, network, inputs()).default is None


@pytest.mark.parametrize(
    ("arch", "default"),
    [
        ("resnet18", "layer4"),
        ("squeezenet1_1", "features"),
        ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1"),
    ],
)
def test_defaults_are_those_that_people_choose(arch: str, default: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    network = made(lambda: torchvision.models.get_model(arch))
    if arch.startswith("vit"):  # its head starts at zero, which mutes every layer
        nn.init.normal_(network.get_parameter("heads.head.weight"), std=0.02)
    assert find_layers(network, network, inputs(size=224)).default == default


def test_classes_as_many_as_channels_or_cells_hide_no_layer() -> None:
    class Alike(nn.Module):
        """As many channels as classes in every layer."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, channels, 3, padding=1)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)
            self.head = nn.Linear(channels, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))

    for channels in (16, 8):  # 16 classes, and a grid of 16 by 16
        network = made(partial(Alike, channels))
        assert find_layers(network, network, inputs()).default == "second"

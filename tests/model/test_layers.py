"""Layers with a spatial grid, and the default layer."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.networks import Flat, Modules, Tokens, inputs, made
from torchserve_saliency.model.layers import find_layers, to_grid
from torchserve_saliency_cli.archiving.random_weights import with_random_heads


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
        ((2, 1024, 1), (224, 224), None),  # pooled features, as many as a grid of 32 x 32 would have
        ((2, 2, 1, 1), (32, 32), None),
        ((2, 8, 4, 1), (64, 16), (2, 8, 4, 1)),
    ],
)
def test_activations_are_converted_to_their_grid(
    shape: tuple[int, ...], size: tuple[int, int], grid: tuple[int, ...] | None
) -> None:
    found = to_grid(torch.zeros(shape), size)
    assert (None if found is None else tuple(found.shape)) == grid


def test_tokens_are_at_the_positions_of_their_patches() -> None:
    tokens = torch.arange(1 + 4 * 6).view(1, -1, 1).float().expand(-1, -1, 2)
    grid = to_grid(tokens, (64, 96))
    assert grid is not None
    assert grid[0, 0].tolist() == [[1 + 6 * r + c for c in range(6)] for r in range(4)]


def test_the_default_is_the_last_map_of_a_convolutional_network() -> None:
    network = made(Modules)
    found = find_layers(network, network, inputs())
    assert (found.names, found.default) == (("first", "second", "relu"), "relu")


def test_the_default_with_a_class_token_is_before_the_last_attention() -> None:
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
        ("swin_t", "norm"),
        ("vgg11", "features"),
    ],
)
def test_defaults_are_the_usual_choices(arch: str, default: str) -> None:
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    network = made(lambda: torchvision.models.get_model(arch))
    if arch.startswith("vit"):  # the initial weights of its head are zero, and so are all gradients
        nn.init.normal_(network.get_parameter("heads.head.weight"), std=0.02)
    assert find_layers(network, network, inputs(size=224)).default == default


@pytest.mark.parametrize(
    ("arch", "default"),
    [
        ("levit_128s", "stages"),  # averages its tokens; the last stage has more channels
        ("hiera_tiny_224", "blocks.11"),
        ("pit_ti_224", "transformers.2.blocks.3.norm1"),  # its last block also returns a map that is not used
        ("xcit_nano_12_p16_224", "cls_attn_blocks.1.norm1"),  # its last attention is from the class token only
        ("cait_xxs24_224", "blocks_token_only.1.norm1"),
        ("coat_tiny", "parallel_blocks.5.norm14"),  # its blocks also return a map unchanged
        ("volo_d1_224", "norm"),  # also reads the cell with the largest activation
        ("tnt_s_patch16_224", "blocks.11.norm_out"),
        ("mixer_s16_224", "norm"),
        ("deit_tiny_distilled_patch16_224", "blocks.11.norm1"),
    ],
)
def test_defaults_of_timm_are_blocks_and_norms(arch: str, default: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = with_random_heads(made(lambda: timm.create_model(arch)))
    assert find_layers(network, network, inputs(size=224)).default == default


class ClassAttention(nn.Module):
    """A head that reads only a class token, made by an attention whose parts are separate modules."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.widened = nn.Linear(12, 20)
        self.norm = nn.LayerNorm(20)
        self.key = nn.Linear(20, 20)
        self.value = nn.Linear(20, 20)
        self.last = nn.LayerNorm(20)
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.widened(self.patches(x).flatten(2).transpose(1, 2))
        normed = self.norm(tokens)
        attention = (normed.mean(1, keepdim=True) @ self.key(normed).transpose(1, 2)).softmax(2)
        tokens = self.last(torch.cat([attention @ self.value(normed), tokens], 1))
        return self.head(tokens[:, 0])


def test_the_default_is_a_norm_and_not_a_part_of_an_attention() -> None:
    network = made(ClassAttention)
    assert find_layers(network, network, inputs(size=32)).default == "norm"


def test_a_module_that_returns_its_input_is_not_the_default() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1, stride=2)

        def forward(self, fine: Tensor, coarse: Tensor) -> list[Tensor]:
            return [fine, self.conv(fine) + coarse]

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = nn.Conv2d(3, 8, 3, padding=1)
            self.coarse = nn.Conv2d(3, 8, 3, padding=1, stride=2)
            self.pair = Pair()
            self.head = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.pair(self.fine(x), self.coarse(x))[1].mean((2, 3)))

    network = made(Both)
    assert find_layers(network, network, inputs()).default == "pair.conv"


def test_a_relu_in_place_may_be_the_default() -> None:
    network = made(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(True), nn.Flatten(), nn.Linear(8 * 14 * 14, 5)))
    assert find_layers(network, network, inputs()).default == "1"


def test_layers_with_as_many_channels_or_cells_as_classes_are_kept() -> None:
    class SameChannels(nn.Module):
        """Two convolutions with the same number of channels, and 16 classes."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, channels, 3, padding=1)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)
            self.head = nn.Linear(channels, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))

    for channels in (16, 8):  # 16 classes, and a grid of 16 by 16
        network = made(partial(SameChannels, channels))
        assert find_layers(network, network, inputs()).default == "second"


class Biased(nn.Module):
    """A convolution whose map is multiplied with a bias that has the shape of a map, but not its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.bias = nn.Conv2d(1, 4, 1)
        self.attend = nn.Softmax(-1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x) * self.bias(torch.ones(1, 1, 8, 8))
        tokens = features.flatten(2).transpose(1, 2)
        attention = self.attend(tokens[:, None] @ tokens[:, None].transpose(2, 3))
        return self.head((attention[:, 0, :4, :4] @ tokens[:, :4]).mean(1))


def test_position_biases_are_no_layers_and_attention_is_no_default() -> None:
    network = made(Biased)
    found = find_layers(network, network, inputs(2, size=32))
    assert "bias" not in found.names
    assert found.default == "conv"

"""How networks attend: prefix, grid and the tokens that are read; and why some attention cannot be rolled out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from saliency.transformers import SelfAttention, find_attention
from tests.networks import Flat, Modules, Tokens, inputs, made
from tests.test_attention import tiny_vit


class Own(nn.Module):
    """Explicit attention among patches behind `prefix` tokens; `pooled` reads all patches, else the first token."""

    def __init__(self, prefix: int = 1, pooled: bool = False, channels: bool = False, few: bool = False) -> None:
        super().__init__()
        self.prefix, self.pooled, self.channels, self.few = prefix, pooled, channels, few
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.tokens = nn.Parameter(torch.randn(1, prefix, 12))
        self.qkv = nn.Linear(12, 36)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.tokens.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        q, k, v = self.qkv(tokens).view(*tokens.shape[:2], 3, 2, 6).permute(2, 0, 3, 1, 4)
        if self.channels:
            mixed = v @ (q.transpose(2, 3) @ k).softmax(-1)
        else:
            mixed = (q[:, :, : 1 if self.few else None] @ k.transpose(2, 3)).softmax(-1) @ v
        tokens = tokens + mixed.transpose(1, 2).flatten(2)
        return self.head(tokens[:, self.prefix :].mean(1) if self.pooled else tokens[:, 0])


def found(network: nn.Module, size: int = 16) -> SelfAttention:
    return find_attention(network, inputs(2, size=size))


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_patches_stand_behind_the_prefix(prefix: int) -> None:
    pooled = found(made(partial(Own, prefix, pooled=True)))
    assert pooled == SelfAttention(1, prefix, (4, 4), tuple(range(prefix, prefix + 16)), None)
    if prefix:
        assert found(made(partial(Own, prefix))) == SelfAttention(1, prefix, (4, 4), (0,), None)


def test_torch_attention_is_found_in_both_spellings() -> None:
    assert found(made(Tokens)) == SelfAttention(1, 1, (4, 4), (0,), None)
    assert found(made(tiny_vit)) == SelfAttention(3, 1, (4, 4), (0,), None)


@pytest.mark.parametrize(("prefix", "read"), [(1, (0,)), (0, tuple(range(16)))])
def test_a_head_of_zeros_hides_what_is_read_and_the_class_token_or_all_patches_stand_for_it(
    prefix: int, read: tuple[int, ...]
) -> None:
    network = made(partial(Own, prefix, pooled=True))
    assert isinstance(network, Own)
    nn.init.zeros_(network.head.weight)
    assert found(network).read == read


def test_two_heads_on_two_tokens_read_both() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = made(lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=2))
    assert found(network, 64) == SelfAttention(2, 2, (4, 4), (0, 1), None)


def test_a_class_token_that_only_the_patches_outlive_is_not_read() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = made(lambda: timm.create_model("beit_base_patch16_224", img_size=64, depth=2, embed_dim=24, num_heads=2))
    assert found(network, 64).read == tuple(range(1, 17))


@pytest.mark.parametrize("make", [Modules, Flat])
def test_a_network_without_attention_lacks_it(make: type[nn.Module]) -> None:
    assert found(made(make)).lack == "needs self-attention, and this network computes no matrix of it"


def test_attention_that_cannot_be_rolled_out_says_why() -> None:
    assert "channels" in str(found(made(partial(Own, channels=True))).lack)
    assert "of some" in str(found(made(partial(Own, few=True))).lack)


class Fewer(nn.Module):
    """Patches that are pooled between two attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        tokens = tokens[:, ::2] + 0
        return (tokens + self.attention(tokens, tokens, tokens)[0]).mean(1)


def test_pooled_tokens_cannot_be_rolled_out() -> None:
    assert "change their number" in str(found(made(Fewer)).lack)


class NoGrid(nn.Module):
    """Attention among 50 tokens, which no patches make."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(3 * 16 * 16, 50 * 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x.flatten(1)).view(len(x), 50, 4) + 0
        return (tokens + self.attention(tokens, tokens, tokens)[0]).mean(1)


def test_tokens_that_are_no_patches_cannot_be_shown() -> None:
    assert "patches of a grid" in str(found(made(NoGrid)).lack)


def test_windows_cannot_be_rolled_out() -> None:
    swin = made(lambda: models.SwinTransformer([4, 4], 12, [2, 2], [2, 2], [4, 4], num_classes=5))
    assert "within windows" in str(found(swin, 64).lack)

"""Self-attention found in networks, and the reasons for which attention rollout does not apply."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.networks import Flat, Modules, Tokens, inputs, made
from tests.propagation.test_attention_capture import tiny_vit
from torchserve_saliency.model.self_attention import SelfAttention, find_attention


class Explicit(nn.Module):
    """Attention computed step by step; the head reads the mean of the patches if `pooled`, else the first token.

    `channels` are attended to instead of tokens, or only the first token attends if `few`.
    """

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
def test_patches_follow_the_prefix(prefix: int) -> None:
    pooled = found(made(partial(Explicit, prefix, pooled=True)))
    assert pooled == SelfAttention(1, prefix, (4, 4), tuple(range(prefix, prefix + 16)), None)
    if prefix:
        assert found(made(partial(Explicit, prefix))) == SelfAttention(1, prefix, (4, 4), (0,), None)


def test_attention_modules_of_torch_and_torchvision_are_found() -> None:
    assert found(made(Tokens)) == SelfAttention(1, 1, (4, 4), (0,), None)
    assert found(made(tiny_vit)) == SelfAttention(3, 1, (4, 4), (0,), None)


@pytest.mark.parametrize(("prefix", "read"), [(1, (0,)), (0, tuple(range(16)))])
def test_with_a_head_of_zeros_the_class_token_or_all_patches_count_as_read(prefix: int, read: tuple[int, ...]) -> None:
    network = made(partial(Explicit, prefix, pooled=True))
    assert isinstance(network, Explicit)
    nn.init.zeros_(network.head.weight)
    assert found(network).read == read


def test_two_heads_read_two_tokens() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = made(lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=2))
    assert found(network, 64) == SelfAttention(2, 2, (4, 4), (0, 1), None)


def test_a_class_token_that_the_head_drops_is_not_read() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = made(lambda: timm.create_model("beit_base_patch16_224", img_size=64, depth=2, embed_dim=24, num_heads=2))
    assert found(network, 64).read == tuple(range(1, 17))


@pytest.mark.parametrize("make", [Modules, Flat])
def test_a_network_without_attention_has_a_reason(make: type[nn.Module]) -> None:
    assert found(made(make)).unsupported_reason == "needs self-attention, and this network computes no attention matrix"


def test_partial_attention_and_attention_between_channels_have_a_reason() -> None:
    assert "channels" in str(found(made(partial(Explicit, channels=True))).unsupported_reason)
    assert "some tokens only" in str(found(made(partial(Explicit, few=True))).unsupported_reason)


class Fewer(nn.Module):
    """Patch tokens of which every second one is dropped between two attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        tokens = tokens[:, ::2] + 0
        return (tokens + self.attention(tokens, tokens, tokens)[0]).mean(1)


def test_a_changing_number_of_tokens_has_a_reason() -> None:
    assert "number of tokens changes" in str(found(made(Fewer)).unsupported_reason)


class NoGrid(nn.Module):
    """Attention between 50 tokens, which form no grid of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(3 * 16 * 16, 50 * 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x.flatten(1)).view(len(x), 50, 4) + 0
        return (tokens + self.attention(tokens, tokens, tokens)[0]).mean(1)


def test_tokens_without_a_grid_have_a_reason() -> None:
    assert "patches of a grid" in str(found(made(NoGrid)).unsupported_reason)


def test_attention_within_windows_has_a_reason() -> None:
    swin = made(lambda: models.SwinTransformer([4, 4], 12, [2, 2], [2, 2], [4, 4], num_classes=5))
    assert "within windows" in str(found(swin, 64).unsupported_reason)

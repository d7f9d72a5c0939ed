"""Folding of batch norms: logits and gradients stay the same, and norms that cannot be folded are kept."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from torchserve_saliency.model.acceleration.batch_norm_folding import fold_batch_norms


def batch_norm(channels: int, affine: bool = True) -> nn.BatchNorm2d:
    """Return a batch norm with random statistics and weights, as if it were trained."""
    norm = nn.BatchNorm2d(channels, affine=affine)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if affine:
        nn.init.uniform_(norm.weight, -1, 2)
        nn.init.normal_(norm.bias)
    return norm


class Block(nn.Module):
    """A convolution and a batch norm; subclasses connect them differently."""

    def __init__(self, bias: bool = False, affine: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, bias=bias)
        self.norm = batch_norm(6, affine)
        self.head = nn.Linear(6, 4)

    def body(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class UsedTwice(Block):
    """The batch norm is not the only user of the convolution's output."""

    def body(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class Between(Block):
    """A ReLU is between the two."""

    def body(self, x: Tensor) -> Tensor:
        return self.norm(F.relu(self.conv(x)))


class Twice(Block):
    """The convolution runs twice, once without the batch norm."""

    def body(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x * 2)


class Shared(Block):
    """The batch norm runs twice."""

    def body(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.norm(self.head.weight.T[None, :, :, None].expand(len(x), 6, 4, 14)).mean()


class Reading(Block):
    """An attribute of the batch norm is used elsewhere."""

    def body(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y * self.norm.eps


class Hidden(Block):
    """The convolution's output is used again, detached from the graph."""

    def body(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) * y.detach().mean()


class Branching(Block):
    """The data decide on a branch of Python, which symbolic tracing cannot follow."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(x if float(x.detach().mean()) > 1e6 else -x)


def made(make: Callable[[], nn.Module], size: int = 16) -> tuple[nn.Module, Tensor]:
    """Return a frozen float64 network and a batch of two pictures."""
    torch.manual_seed(0)
    network = make().double().eval().requires_grad_(False)
    return network, torch.randn(2, 3, size, size, dtype=torch.float64)


def logits_and_gradient(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    logits = network(x)
    return logits.detach(), torch.autograd.grad(logits[:, 1].sum(), x)[0]


FOLDED: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "plain": (Block, 16, 1),
    "with a bias": (lambda: Block(bias=True), 16, 1),
    "without weights of the norm": (lambda: Block(affine=False), 16, 1),
    "after a branch of Python": (Branching, 16, 1),
    "resnet18": (lambda: models.resnet18(num_classes=5), 64, 20),
    "mobilenet_v2": (lambda: models.mobilenet_v2(num_classes=5), 64, 52),
    "densenet121": (lambda: models.densenet121(num_classes=5), 64, 59),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folding_keeps_logits_and_gradient(name: str) -> None:
    make, size, expected = FOLDED[name]
    network, x = made(make, size)
    before = logits_and_gradient(network, x)
    names = [name for name, _ in network.named_modules()]
    assert fold_batch_norms(network, network, x) == expected
    for old, new in zip(before, logits_and_gradient(network, x), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-9, atol=1e-12 * float(old.abs().max()))
    assert [name for name, _ in network.named_modules()] == names
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_folded_norm_is_an_identity() -> None:
    network, x = made(Block)
    fold_batch_norms(network, network, x)
    assert isinstance(network.norm, nn.Identity)
    assert "conv.bias" in network.state_dict()


@pytest.mark.parametrize("make", [UsedTwice, Between, Twice, Shared])
def test_a_norm_and_a_convolution_that_are_not_a_pair_are_kept(make: Callable[[], nn.Module]) -> None:
    network, x = made(make)
    assert fold_batch_norms(network, network, x) == 0
    assert isinstance(network.norm, nn.BatchNorm2d)


def test_a_convolution_with_a_hook_is_kept() -> None:
    network, x = made(Block)
    network.get_submodule("conv").register_forward_hook(lambda *_: None)
    assert fold_batch_norms(network, network, x) == 0


@pytest.mark.parametrize("make", [Reading, Hidden])
def test_a_fold_that_changes_the_logits_is_undone(
    make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    network, x = made(make)
    before, state = network(x), copy.deepcopy(network.state_dict())
    with caplog.at_level(logging.WARNING):
        assert fold_batch_norms(network, network, x) == 0
    assert "batch norms are not folded" in caplog.text
    torch.testing.assert_close(network(x), before, rtol=0, atol=0)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_norms_of_timm_keep_their_activation() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network, x = made(lambda: timm.create_model("tf_mobilenetv3_small_075", num_classes=5), 64)
    before = logits_and_gradient(network, x)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert fold_batch_norms(network, network, x) == norms > 30
    for old, new in zip(before, logits_and_gradient(network, x), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-9, atol=1e-12 * float(old.abs().max()))

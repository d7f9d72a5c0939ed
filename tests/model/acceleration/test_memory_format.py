"""The choice of memory format: channels last only if it works, gives the same results, and is as fast."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.model.acceleration.test_batch_norm_folding import Block, logits_and_gradient, made
from torchserve_saliency.model.acceleration import memory_format
from torchserve_saliency.model.acceleration.memory_format import choose_memory_format


class Viewing(Block):
    """A view that fails unless the memory is contiguous, as in Captum's CIFAR network."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head(y.view(len(y), -1)[:, :6])


class ViewingRows(Block):
    """A view that fails only if the batch has several pictures."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head(y.view(-1, 14, 14).mean((1, 2)).view(len(y), 6))


class Slow(Block):
    """A network that is slower in channels last."""

    def body(self, x: Tensor) -> Tensor:
        y = super().body(x)
        if not y.is_contiguous():
            for _ in range(300):
                y = y.contiguous(memory_format=torch.preserve_format).clone()
        return y


@pytest.mark.parametrize("make", [Viewing, ViewingRows, Slow])
def test_channels_last_is_not_used_if_it_fails_or_is_slower(make: Callable[[], nn.Module]) -> None:
    network, x = made(make)
    state = copy.deepcopy(network.state_dict())
    assert choose_memory_format(network, network, x) is torch.contiguous_format
    assert network.state_dict()["conv.weight"].is_contiguous()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_channels_last_keeps_logits_and_gradient() -> None:
    network, x = made(lambda: models.resnet18(num_classes=5), 64)
    before = logits_and_gradient(network, x)
    chosen = choose_memory_format(network, network, x)
    assert chosen in (torch.channels_last, torch.contiguous_format)
    after = logits_and_gradient(network, x.to(memory_format=chosen))
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old)


def test_a_network_without_convolutions_stays_contiguous() -> None:
    network, x = made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 4)))
    assert choose_memory_format(network, network, x) is torch.contiguous_format


@pytest.mark.parametrize(("seconds", "passes"), [([9, 5], 2), ([5, 9, 5, 5], 4), ([0.1, 0.1, 0.1, 0.1], 4)])
def test_the_first_pair_in_which_channels_last_is_fast_decides(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], passes: int
) -> None:
    given = iter(seconds)

    def trial(*_: object) -> memory_format._Trial:
        return memory_format._Trial(torch.ones(1), torch.ones(1), next(given))

    monkeypatch.setattr(memory_format, "_trial", trial)
    network = torch.nn.Conv2d(3, 4, 3)
    assert choose_memory_format(network, network, torch.ones(2, 3, 8, 8)) is torch.channels_last
    assert len(seconds) - len(list(given)) == passes

"""Hooks capture layer outputs or mask channels while the network runs, and are removed afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.networks import InPlace, Modules, Tokens, classifier, inputs, made
from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.hooks import captured, masked_channels
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer, ChannelMask, Rows


@pytest.mark.parametrize("cut", [False, True])
def test_gradients_at_a_layer_are_those_of_the_rest_of_the_network(cut: bool) -> None:
    network, x = made(InPlace), inputs(2)
    assert isinstance(network, InPlace)
    with captured(network, ["second"], cut) as found:
        logits = network(x.clone().requires_grad_(not cut))
    activation = found["second"]
    grad = torch.autograd.grad(logits[:, 1].sum(), activation)[0]
    # the ReLU after the layer works in place, but the captured tensor must still be its input
    expected = network.second(torch.relu(network.first(x)))
    torch.testing.assert_close(activation, expected)
    by_hand = (expected > 0) * network.head.weight[1].view(1, -1, 1, 1) / expected[0, 0].numel()
    torch.testing.assert_close(grad, by_hand)


def test_the_first_tensor_of_a_tuple_is_captured() -> None:
    network, x = made(Tokens), inputs(1)
    with captured(network, ["attention"], cut=True) as found:
        logits = network(x)
    assert found["attention"].shape == (1, 17, 12)
    assert torch.autograd.grad(logits[0, 0], found["attention"])[0].any()


def test_hooks_are_removed_after_success_and_failure() -> None:
    class Failing(Modules):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ZeroDivisionError

    def hooks(network: nn.Module) -> int:
        return sum(len(m._forward_hooks) for m in network.modules())

    network, failing = made(Modules), made(Failing)
    with captured(network, ["first", "second"], cut=True):
        assert hooks(network) == 2
        network(inputs())
    with pytest.raises(ZeroDivisionError), captured(failing, ["first"], cut=True):
        failing(inputs())
    mask = ChannelMask("first", torch.zeros(1).long())
    with captured(network, [], True), masked_channels(network, [(0, mask)], (16, 16)):
        network(inputs())
    assert hooks(network) == hooks(failing) == 0


def test_a_masked_channel_is_zero_only_in_its_row() -> None:
    network, x = made(Modules), inputs(3)
    assert isinstance(network, Modules)
    mask = ChannelMask("second", torch.tensor([5, 0]))
    with masked_channels(network, [(1, mask)], (16, 16)):
        found = network(x)
    maps = network.second(torch.relu(network.first(x)))
    maps[1, 5] = maps[2, 0] = 0
    torch.testing.assert_close(found, network.head(torch.relu(maps).mean((2, 3))))


def test_a_channel_of_tokens_is_masked_in_every_token() -> None:
    network, x = made(Tokens), inputs(2)
    mask = ChannelMask("norm", torch.tensor([3, 3]))
    with masked_channels(network, [(0, mask)], (16, 16)), captured(network, ["norm"], False):
        found = network(x)
    assert isinstance(network, Tokens)
    with torch.no_grad():
        network.norm.weight[3] = network.norm.bias[3] = 0
    torch.testing.assert_close(found, network(x))


def test_units_replace_the_logits() -> None:
    network, x = made(Modules), inputs(2)
    assert isinstance(network, Modules)
    rows = Rows(x, Objective((6,)), units="second")
    (answer,) = Pool(classifier(network), [rows], 16).answers()
    assert isinstance(answer, Answer)
    leaf = x.clone().requires_grad_()
    means = network.second(torch.relu(network.first(leaf))).mean((2, 3))
    torch.testing.assert_close(answer.logits, means.detach())
    torch.testing.assert_close(answer.grad[0], torch.autograd.grad(means[:, 6].sum(), leaf)[0])
    assert not answer.activations

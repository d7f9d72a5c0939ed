"""Layers listened to and silenced while the network runs, and left as they were."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from saliency.objective import Objective
from saliency.pool import Pool
from saliency.rows import Answer, Rows, Silence
from saliency.taps import captured, silenced
from tests.networks import InPlace, Modules, Tokens, classifier, inputs, made


@pytest.mark.parametrize("cut", [False, True])
def test_gradients_at_a_layer_are_those_of_the_rest_of_the_network(cut: bool) -> None:
    network, x = made(InPlace), inputs(2)
    assert isinstance(network, InPlace)
    with captured(network, ["second"], cut) as found:
        logits = network(x.clone().requires_grad_(not cut))
    activation = found["second"]
    grad = torch.autograd.grad(logits[:, 1].sum(), activation)[0]
    # the rectifier after the layer works in place: what was captured must be its input all the same
    expected = network.second(torch.relu(network.first(x)))
    torch.testing.assert_close(activation, expected)
    by_hand = (expected > 0) * network.head.weight[1].view(1, -1, 1, 1) / expected[0, 0].numel()
    torch.testing.assert_close(grad, by_hand)


def test_a_layer_that_puts_out_a_tuple_is_captured_by_its_first_tensor() -> None:
    network, x = made(Tokens), inputs(1)
    with captured(network, ["attention"], cut=True) as found:
        logits = network(x)
    assert found["attention"].shape == (1, 17, 12)
    assert torch.autograd.grad(logits[0, 0], found["attention"])[0].any()


def test_no_hook_is_left_after_success_or_failure() -> None:
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
    with captured(network, [], True), silenced(network, [(0, Silence("first", torch.zeros(1).long()))], (16, 16)):
        network(inputs())
    assert hooks(network) == hooks(failing) == 0


def test_a_silenced_channel_is_zero_in_its_row_alone() -> None:
    network, x = made(Modules), inputs(3)
    assert isinstance(network, Modules)
    silence = Silence("second", torch.tensor([5, 0]))
    with silenced(network, [(1, silence)], (16, 16)):
        found = network(x)
    maps = network.second(torch.relu(network.first(x)))
    maps[1, 5] = maps[2, 0] = 0
    torch.testing.assert_close(found, network.head(torch.relu(maps).mean((2, 3))))


def test_channels_of_tokens_are_silenced_in_every_token() -> None:
    network, x = made(Tokens), inputs(2)
    with silenced(network, [(0, Silence("norm", torch.tensor([3, 3])))], (16, 16)), captured(network, ["norm"], False):
        found = network(x)
    assert isinstance(network, Tokens)
    with torch.no_grad():
        network.norm.weight[3] = network.norm.bias[3] = 0
    torch.testing.assert_close(found, network(x))


def test_units_stand_in_the_place_of_the_logits() -> None:
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

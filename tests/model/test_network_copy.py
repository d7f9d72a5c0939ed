"""E4: the copy of a network in memory; the original is left as it is."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.network_copy import private_copy

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return nn.Sequential(*layers).train()


def evaluated(net: nn.Module) -> Tensor:
    with torch.no_grad():
        output: Tensor = copy.deepcopy(net).eval()(X)
    return output


def test_the_original_keeps_its_mode_gradients_statistics_and_hooks() -> None:
    net = network()
    net[0].weight.requires_grad_(False)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    net[2].register_forward_hook(lambda *_: None)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradient = net[5].weight.grad
    made = private_copy(net, X)
    made[0].weight.data.zero_()  # type: ignore[index]
    assert net.training
    assert not made.training
    assert (net[0].weight.requires_grad, net[1].weight.requires_grad) == (False, True)
    assert net[5].weight.grad is gradient
    assert len(net[2]._forward_hooks) == 1
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())


def test_hooks_that_observe_are_removed_and_called_once_only() -> None:
    net, seen = network(), []
    net[0].register_forward_hook(lambda module, args, output: seen.append(output))
    net[2].register_forward_pre_hook(lambda module, args: seen.append(args))
    made = private_copy(net, X)
    count = len(seen)
    made(X)
    assert (count, len(seen)) == (2, 2)


def test_a_hook_that_changes_the_output_stays() -> None:
    net = network()
    net[0].register_forward_hook(lambda module, args, output: 3 * output + 1)
    torch.testing.assert_close(private_copy(net, X)(X), evaluated(net))
    assert not torch.equal(evaluated(net), evaluated(network()))


def test_a_backward_hook_does_not_change_the_gradient() -> None:
    net = network()
    net[2].register_full_backward_hook(lambda module, before, after: (5 * before[0],))  # type: ignore[index]
    gradients = []
    for each in (private_copy(net, X), network().eval()):
        x = X.clone().requires_grad_()
        gradients.append(torch.autograd.grad(each(x)[0, 1], x)[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_a_weight_that_is_computed_is_copied(wrap: Any) -> None:
    net = network()
    wrap(net[0])
    net(torch.randn(2, 3, 8, 8))  # the old form of weight_norm keeps the weight with its graph
    torch.testing.assert_close(private_copy(net, X)(X), evaluated_in_place(net))


def evaluated_in_place(net: nn.Module) -> Tensor:
    with torch.no_grad():
        output: Tensor = net.eval()(X)
    return output


def test_remembered_activations_do_not_prevent_a_copy() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.kept: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.last = self.net[0](x)
            self.kept.append(self.last)
            out: Tensor = self.net[1:](self.last)
            return out

    net = Remembering()
    net(torch.randn(2, 3, 8, 8))
    assert private_copy(net, X)(X).shape == (1, 2)
    assert len(net.kept) == 1


def test_wrappers_are_removed() -> None:
    net = network()
    expected = evaluated(net)
    for wrapped in (torch.compile(net), nn.DataParallel(net)):
        made = private_copy(wrapped, X)  # type: ignore[arg-type]
        assert type(made) is nn.Sequential
        torch.testing.assert_close(made(X), expected)


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    net = network()
    net.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot be copied"):
        private_copy(net, X)

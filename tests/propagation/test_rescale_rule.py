"""DeepLIFT's rules: their multipliers add up to the difference of the outputs, and equal those of plain loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks import Functional, InPlace, Modules, inputs, made
from torchserve_saliency.errors import RequestError
from torchserve_saliency.propagation.rescale_rule import Rescale

Function = Callable[[Tensor], Tensor]


def multipliers(function: Function, ends: Tensor, weights: Tensor) -> Tensor:
    """Return the multipliers of sum(weights * function) for pairs of rows."""
    leaf = ends.clone().requires_grad_()
    with Rescale().around(len(ends)):
        y = function(leaf)
    torch.testing.assert_close(y.detach(), function(ends), rtol=1e-12, atol=1e-12)
    return torch.autograd.grad(y, leaf, weights.expand_as(y))[0]


def gap(function: Function, ends: Tensor) -> float:
    """Return the error of the sum of multipliers times differences, for a random mixture of outputs."""
    y = function(ends)
    weights = torch.randn(y.shape[1:], generator=torch.Generator().manual_seed(9), dtype=y.dtype)
    found = (multipliers(function, ends, weights)[0] * (ends[0] - ends[1])).sum()
    expected = (weights * (y[0] - y[1])).sum()
    assert abs(expected) > 1e-4
    return float(abs(found - expected))


ELEMENTWISE: dict[str, Function] = {
    "relu": F.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: F.relu(x * 1, inplace=True),
    "method in place": lambda x: (x * 1).relu_(),
    "module": nn.ReLU(inplace=False),
    "relu6": lambda x: F.relu6(x * 9),
    "hardtanh": nn.Hardtanh(-0.5, 0.5),
    "leaky_relu": nn.LeakyReLU(0.1),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.1, 0.2, 0.3], dtype=x.dtype)),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "celu": nn.CELU(2),
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU("tanh"),
    "silu": lambda x: F.silu(x * 1, inplace=True),
    "mish": nn.Mish(),
    "sigmoid": torch.sigmoid,
    "tanh": lambda x: x.tanh(),
    "softplus": nn.Softplus(),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(),
    "clamp": lambda x: x.clamp(-0.3, max=0.4),
    "power": lambda x: x**3,
    "exponential": lambda x: 2**x,
    "reciprocal": lambda x: 1 / (x.abs() + 1),
}
JOINT: dict[str, Function] = {
    "product": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "product in place": lambda x: (x * 1).mul_(x.tanh()),
    "square": lambda x: x * x,
    "quotient": lambda x: x / (1 + x.abs()),
    "matrix product": lambda x: x @ x.transpose(-1, -2).tanh(),
    "einsum": lambda x: torch.einsum("ncij,ncjk->nik", x, x.tanh()),
    "softmax": lambda x: x.flatten(2).softmax(-1),
    "softmax module": lambda x: nn.Softmax(1)(x),
    "log softmax": lambda x: F.log_softmax(x * 5, 1),
    "softmin": lambda x: F.softmin(x, 1),
    "glu": lambda x: F.glu(x, 2),
    "layer norm": lambda x: F.layer_norm(x, x.shape[2:], eps=1e-3),
    "group norm": lambda x: F.group_norm(x, 3, torch.arange(3.0).to(x), torch.arange(3.0).to(x)),
    "instance norm": nn.InstanceNorm2d(3).eval(),
    "unit length": lambda x: F.normalize(x, dim=1),
    "attention": lambda x: F.scaled_dot_product_attention(x, x.tanh(), x),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x.tanh(), x, is_causal=True),
    "max pool 1d": lambda x: F.max_pool1d(x.flatten(2), 5, 2),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "max pool, overlapping": nn.MaxPool2d(3, 1, padding=1),
    "max pool, dilated": lambda x: torch.max_pool2d(x, 3, 2, 1, 2, True),
    "max pool with indices": lambda x: F.max_pool2d(x, 3, 2, return_indices=True)[0],
    "max pool 3d": lambda x: F.max_pool3d(x[:, None], (1, 3, 3), (1, 2, 2)),
    "adaptive max pool": nn.AdaptiveMaxPool2d(5),
}


@pytest.mark.parametrize("name", [*ELEMENTWISE, *JOINT])
def test_multipliers_times_differences_add_up(name: str) -> None:
    ends = inputs(2, 8, dtype=torch.float64)
    assert gap((ELEMENTWISE | JOINT)[name], ends) < 1e-10


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_multiplier_of_a_nonlinearity_is_the_slope_of_its_secant(name: str) -> None:
    ends, function = inputs(2, 8, dtype=torch.float64), ELEMENTWISE[name]
    y = function(ends)
    expected = (y[0] - y[1]) / (ends[0] - ends[1])
    found = multipliers(function, ends, torch.ones(1, dtype=ends.dtype))
    torch.testing.assert_close(found, expected.expand_as(ends), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", [*ELEMENTWISE, *JOINT])
def test_without_a_difference_the_multiplier_is_the_derivative(name: str) -> None:
    function = (ELEMENTWISE | JOINT)[name]
    ends = inputs(1, 8, dtype=torch.float64).expand(2, -1, -1, -1).clone()
    weights = torch.randn(function(ends).shape[1:], generator=torch.Generator().manual_seed(4)).to(ends)
    leaf = ends.clone().requires_grad_()
    y = function(leaf)
    expected = torch.autograd.grad(y, leaf, weights.expand_as(y))[0]
    torch.testing.assert_close(multipliers(function, ends, weights), expected, rtol=1e-8, atol=1e-10)


def pooled_by_hand(ends: Tensor, weights: Tensor, size: int, stride: int) -> Tensor:
    """Return the multipliers of maximum pooling, one window after another."""
    found = torch.zeros_like(ends[0])
    for channel in range(ends.shape[1]):
        for i, row in enumerate(range(0, ends.shape[2] - size + 1, stride)):
            for j, column in enumerate(range(0, ends.shape[3] - size + 1, stride)):
                window = ends[:, channel, row : row + size, column : column + size].flatten(1)
                here, there = (int(w.argmax()) for w in window)
                top = max(window[0, here], window[1, there])
                for place, part in ((here, top - window[1, there]), (there, window[0, here] - top)):
                    at = channel, row + place // size, column + place % size
                    if part:
                        found[at] += weights[channel, i, j] * part / (window[0, place] - window[1, place])
    return found


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_maximum_pooling_is_that_of_the_paper_window_by_window(size: int, stride: int) -> None:
    ends = inputs(2, 7, dtype=torch.float64)
    weights = torch.randn(F.max_pool2d(ends, size, stride).shape[1:], dtype=torch.float64)
    found = multipliers(nn.MaxPool2d(size, stride), ends, weights)
    expected = pooled_by_hand(ends, weights, size, stride)
    torch.testing.assert_close(found, expected.expand_as(found), rtol=1e-10, atol=1e-12)


def test_a_product_shares_its_difference_symmetrically() -> None:
    a, b = inputs(2, 4, 5, torch.float64), inputs(2, 4, 6, torch.float64)
    ends = torch.cat([a, b], 1)
    found = multipliers(lambda x: x[:, :3] * x[:, 3:], ends, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(found[0, :3], b.mean(0))
    torch.testing.assert_close(found[1, 3:], a.mean(0))


def test_attention_by_a_module_adds_up_whether_or_not_it_returns_its_weights() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double().eval().requires_grad_(False)
    ends = inputs(2, 8, dtype=torch.float64)[:, 0]
    for weights in (True, False):
        assert gap(lambda x: attention(x, x, x, need_weights=weights)[0], ends) < 1e-12  # noqa: B023


def test_every_form_of_a_network_has_the_same_multipliers() -> None:
    ends, weights = inputs(4, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)
    first, *others = (multipliers(made(m, dtype=torch.float64), ends, weights) for m in (Modules, Functional, InPlace))
    for other in others:
        torch.testing.assert_close(other, first)


def test_a_pair_in_a_batch_has_its_own_multipliers_in_both_memory_formats() -> None:
    network, ends = made(Modules, dtype=torch.float64), inputs(6, dtype=torch.float64)
    weights = torch.arange(5.0, dtype=torch.float64)
    together = multipliers(network, ends.contiguous(memory_format=torch.channels_last), weights)
    for start in (0, 2, 4):
        pair = slice(start, start + 2)
        torch.testing.assert_close(together[pair], multipliers(network, ends[pair], weights))


def test_windows_are_paired_like_their_pictures() -> None:
    def windows(x: Tensor) -> Tensor:
        cut = torch.stack(x.chunk(2, 3), 1).flatten(0, 1)
        return cut.tanh().unflatten(0, (-1, 2)).sum(1)

    assert gap(windows, inputs(2, dtype=torch.float64)) < 1e-12


def test_a_batch_that_is_not_the_first_dimension_is_an_error() -> None:
    with pytest.raises(RequestError, match="needs the batch as the first dimension") as caught:
        multipliers(lambda x: x.movedim(0, 2)[:, :3].tanh(), inputs(2), torch.ones(1))
    assert caught.value.status == 422


def test_the_mode_is_removed_after_success_and_after_an_exception() -> None:
    x, network = inputs(2).requires_grad_(), made(Modules)
    before = torch.autograd.grad(network(x).sum(), x)[0]
    with Rescale().around(2):
        network(x)
    with pytest.raises(ZeroDivisionError), Rescale().around(2):
        raise ZeroDivisionError
    torch.testing.assert_close(torch.autograd.grad(network(x).sum(), x)[0], before, rtol=0, atol=0)


def test_without_gradient_the_mode_has_no_effect() -> None:
    x, network = inputs(3), made(Modules)
    with torch.no_grad(), Rescale().around(2):
        inside = network(x)
    torch.testing.assert_close(inside, network(x), rtol=0, atol=0)

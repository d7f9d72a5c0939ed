"""The rules of relevance propagation, compared with explicit sums over contributions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks import Functional, InPlace, Modules, inputs, made
from torchserve_saliency.propagation.relevance_rules import RULES, Relevance

Function = Callable[[Tensor], Tensor]


def relevance(function: Function, x: Tensor, mode: Relevance, weights: Tensor | None = None) -> Tensor:
    """Return the relevance of the inputs for sum(weights * function)."""
    leaf = x.clone().requires_grad_()
    with mode.around(len(x)):
        y = function(leaf)
    torch.testing.assert_close(y.detach(), function(x), rtol=1e-12, atol=1e-12)
    cotangent = torch.ones_like(y) if weights is None else weights.expand_as(y)
    return torch.autograd.grad(y, leaf, cotangent)[0] * x


def by_hand(x: Tensor, weight: Tensor, bias: Tensor, rule: str, epsilon: float, gamma: float) -> Tensor:
    """Return the relevance of x [d] for the sum of weight @ x + bias, one contribution after another."""
    found = torch.zeros_like(x)
    for w, b in zip(weight, bias, strict=True):
        parts = w * x
        z = parts.sum() + b
        counted = {
            "epsilon": (parts, z),
            "gamma": (parts + gamma * parts.clamp_min(0), z + gamma * parts.clamp_min(0).sum()),
            "alpha1_beta0": (parts.clamp_min(0), parts.clamp_min(0).sum() + b.clamp_min(0)),
        }
        each, total = counted[rule]
        found += z * each / (total + epsilon * (-1 if total < 0 else 1))
    return found


X = torch.randn(1, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
W = torch.randn(4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
B = torch.randn(4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("epsilon", [1e-9, 0.3])
def test_a_linear_layer_divides_relevance_by_contributions(rule: str, epsilon: float) -> None:
    mode = Relevance(rule, epsilon, 0.5)
    expected = by_hand(X[0], W, B, rule, epsilon, 0.5)
    forms: tuple[Function, ...] = (
        lambda x: F.linear(x, W, B),
        lambda x: F.conv1d(x[..., None], W[..., None], bias=B),
        lambda x: F.conv2d(x[..., None, None], W[..., None, None], B),
        lambda x: F.conv_transpose2d(x[..., None, None], W.T[..., None, None], B),
    )
    for function in forms:
        torch.testing.assert_close(relevance(function, X, mode)[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_matrix_product_with_a_parameter_is_a_linear_layer(rule: str) -> None:
    mode = Relevance(rule, 0.1, 0.5)
    expected = by_hand(X[0], W, torch.zeros(4, dtype=torch.float64), rule, 0.1, 0.5)
    forms: tuple[Function, ...] = (
        lambda x: x @ W.T,
        lambda x: torch.matmul(W, x.T),
        lambda x: torch.mm(x, W.T),
        lambda x: torch.einsum("ni,oi->no", x, W),
    )
    for function in forms:
        torch.testing.assert_close(relevance(function, X, mode)[0], expected, rtol=1e-9, atol=1e-12)


def test_a_nonlinearity_passes_relevance_except_that_of_its_value_at_zero() -> None:
    x = inputs(1, 8, dtype=torch.float64)
    functions: tuple[Function, ...] = (F.gelu, torch.tanh, F.relu, F.silu, F.relu6, F.elu, torch.sigmoid, F.softplus)
    for function in functions:
        passed = function(x) - function(torch.zeros_like(x))
        torch.testing.assert_close(relevance(function, x, Relevance()), passed, rtol=1e-9, atol=1e-12)


def test_the_largest_element_gets_all_relevance_of_a_maximum() -> None:
    x = inputs(1, 6, dtype=torch.float64)
    found = relevance(lambda t: F.max_pool2d(t, 2), x, Relevance())
    winners = F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), [2, 2])
    torch.testing.assert_close(found, winners)


def test_each_factor_of_a_product_gets_half() -> None:
    a, b = inputs(1, 4, 5, torch.float64), inputs(1, 4, 6, torch.float64)
    found = relevance(lambda x: x[:, :3] * x[:, 3:], torch.cat([a, b], 1), Relevance())
    torch.testing.assert_close(found, torch.cat([a * b, a * b], 1) / 2)


@pytest.mark.parametrize(
    "norm",
    [
        lambda x: F.layer_norm(x, x.shape[2:]),
        lambda x: F.group_norm(x, 3),
        nn.InstanceNorm2d(3).eval(),
        lambda x: F.normalize(x, dim=1),
        lambda x: x / x.abs().sum(1, keepdim=True),
    ],
    ids=["layer", "group", "instance", "unit length", "quotient"],
)
def test_scales_of_norms_are_constants_so_that_relevance_is_conserved(norm: Function) -> None:
    x, weights = inputs(1, 8, dtype=torch.float64), inputs(1, 8, 7, torch.float64)
    found = relevance(norm, x, Relevance(), weights)
    torch.testing.assert_close(found.sum(), (norm(x) * weights).sum())


def test_softmax_keeps_its_derivative() -> None:
    x, weights = inputs(1, 8, dtype=torch.float64), inputs(1, 8, 7, torch.float64)
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad((leaf.softmax(1) * weights).sum(), leaf)[0] * x
    torch.testing.assert_close(relevance(lambda t: F.softmax(t, 1), x, Relevance(), weights), expected)


def test_a_batch_norm_follows_the_epsilon_rule_under_every_rule() -> None:
    x = inputs(1, 8, dtype=torch.float64)
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).double().eval().requires_grad_(False)
    norm.running_mean.normal_()  # type: ignore[union-attr]
    z, slope = norm(x), norm.weight * (norm.running_var + norm.eps) ** -0.5  # type: ignore[operator]
    expected = z / (z + 0.1 * z.sign()) * slope.view(1, -1, 1, 1) * x
    for rule in RULES:
        torch.testing.assert_close(relevance(norm, x, Relevance(rule, 0.1)), expected)


@pytest.mark.parametrize("rule", RULES)
def test_every_form_of_a_network_has_the_same_relevance(rule: str) -> None:
    x, weights = inputs(2, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)
    mode = Relevance(rule, 0.01)
    first, *others = (relevance(made(m, dtype=torch.float64), x, mode, weights) for m in (Modules, Functional, InPlace))
    for other in others:
        torch.testing.assert_close(other, first)


@pytest.mark.parametrize("rule", RULES)
def test_a_row_in_a_batch_has_its_own_relevance_in_both_memory_formats(rule: str) -> None:
    network, x, weights = made(Modules, dtype=torch.float64), inputs(3, dtype=torch.float64), torch.eye(5).double()[1]
    together = relevance(network, x.contiguous(memory_format=torch.channels_last), Relevance(rule), weights)
    for row in range(3):
        alone = relevance(network, x[row : row + 1], Relevance(rule), weights)
        torch.testing.assert_close(together[row : row + 1], alone)


def test_an_operation_in_place_on_a_view_changes_its_base() -> None:
    class Halves(Modules):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x[:, :4].tanh_()
            return self.head(x.mean((2, 3)))

    class Apart(Modules):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.head(torch.cat([x[:, :4].tanh(), x[:, 4:]], 1).mean((2, 3)))

    x, mode = inputs(2, dtype=torch.float64), Relevance("epsilon", 0.1)
    found, expected = (relevance(made(make, dtype=torch.float64), x, mode) for make in (Halves, Apart))
    torch.testing.assert_close(found, expected)


def test_the_mode_is_removed_after_success_and_after_an_exception() -> None:
    x, network = inputs(2).requires_grad_(), made(Modules)
    before = torch.autograd.grad(network(x).sum(), x)[0]
    with Relevance("gamma").around(2):
        network(x)
    with pytest.raises(ZeroDivisionError), Relevance("gamma").around(2):
        raise ZeroDivisionError
    torch.testing.assert_close(torch.autograd.grad(network(x).sum(), x)[0], before, rtol=0, atol=0)

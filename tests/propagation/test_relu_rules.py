"""The backward rules of ReLU, compared with an explicit backward pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.networks import Functional, InPlace, Modules, Six, inputs, made
from torchserve_saliency.propagation.relu_rules import RowRules, Rule, count_rectifiers

FORMS: list[Callable[[], nn.Module]] = [Modules, Functional, InPlace]


def by_hand(network: nn.Module, x: Tensor, target: int, rule: Rule) -> Tensor:
    """Return the input gradient of `Modules` under a rule, computed layer by layer with transposed convolutions."""
    assert isinstance(network, Modules)

    def back(grad: Tensor, before: Tensor) -> Tensor:
        if rule is Rule.DECONVOLUTION:
            return grad * (grad > 0)
        return grad * (before > 0) * ((grad > 0) if rule is Rule.GUIDED else 1)

    one = network.first(x)
    two = network.second(one.clamp_min(0))
    grad = network.head.weight[target].view(1, -1, 1, 1) / two[0, 0].numel()
    grad = back(grad.expand_as(two), two)
    grad = torch.nn.functional.conv_transpose2d(grad, network.second.weight, stride=2, padding=1, output_padding=1)
    return torch.nn.functional.conv_transpose2d(back(grad, one), network.first.weight, padding=1)


def gradient(network: nn.Module, x: Tensor, targets: list[int], rules: list[Rule]) -> Tensor:
    x = x.clone().requires_grad_()
    with RowRules(rules, x.device):
        logits = network(x)
    return torch.autograd.grad(logits[range(len(targets)), targets].sum(), x)[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", list(Rule))
def test_each_rule_equals_the_explicit_backward_pass(form: Callable[[], nn.Module], rule: Rule) -> None:
    x = inputs(dtype=torch.float64)
    expected = by_hand(made(Modules, dtype=torch.float64), x, 2, rule)
    found = gradient(made(form, dtype=torch.float64), x, [2], [rule])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_the_rules_differ_from_one_another() -> None:
    x, network = inputs(), made(Modules)
    maps = [gradient(network, x, [2], [rule]) for rule in Rule]
    assert all(not torch.allclose(a, b) for a, b in [(maps[0], maps[1]), (maps[0], maps[2]), (maps[1], maps[2])])


@pytest.mark.parametrize("form", FORMS)
def test_each_row_of_a_batch_follows_its_own_rule(form: Callable[[], nn.Module]) -> None:
    x, network, rules = inputs(3), made(form), list(Rule)
    together = gradient(network, x, [0, 1, 2], rules)
    for row, rule in enumerate(rules):
        alone = gradient(network, x[row : row + 1], [row], [rule])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_plain_rows_equal_autograd_without_the_mode_even_for_relu6() -> None:
    x, network = (inputs() * 9).requires_grad_(), made(Six)
    expected = torch.autograd.grad(network(x)[0, 1], x)[0]
    torch.testing.assert_close(gradient(network, x.detach(), [1], [Rule.PLAIN]), expected)


def test_the_forward_pass_is_unchanged_under_every_rule() -> None:
    for form in (*FORMS, Six):
        network, x = made(form), inputs(3) * 9
        with RowRules(list(Rule), x.device):
            inside = network(x)
        torch.testing.assert_close(inside, network(x), rtol=0, atol=0)


def test_relu_in_place_on_a_view_changes_its_base() -> None:
    class Halves(Modules):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x[:, :4].relu_()
            return self.head(x.mean((2, 3)))

    x = inputs(dtype=torch.float64).requires_grad_()
    network = made(Halves, dtype=torch.float64)
    expected = torch.autograd.grad(network(x)[0, 1], x)[0]
    torch.testing.assert_close(gradient(network, x.detach(), [1], [Rule.PLAIN]), expected)


def test_the_mode_is_removed_after_success_and_after_an_exception() -> None:
    x, network = inputs(), made(Modules)
    plain = x.clone().requires_grad_()
    with pytest.raises(ZeroDivisionError), RowRules([Rule.GUIDED], x.device):
        raise ZeroDivisionError
    after = torch.autograd.grad(network(plain)[0, 2], plain)[0]
    torch.testing.assert_close(after, by_hand(network, x, 2, Rule.PLAIN))


def test_windows_follow_the_rule_of_their_picture() -> None:
    class Windows(Modules):
        def forward(self, x: Tensor) -> Tensor:
            n = len(x)
            x = torch.stack(x.chunk(2, 3), 1).flatten(0, 1)  # [2n, C, H, W/2]
            return super().forward(x).view(n, 2, -1).sum(1)

    x, network = inputs(2), made(Windows)
    together = gradient(network, x, [1, 1], [Rule.GUIDED, Rule.DECONVOLUTION])
    for row, rule in enumerate([Rule.GUIDED, Rule.DECONVOLUTION]):
        torch.testing.assert_close(together[row : row + 1], gradient(network, x[row : row + 1], [1], [rule]))


@pytest.mark.parametrize(("form", "calls"), [(Modules, 2), (Functional, 2), (InPlace, 2), (Six, 2)])
def test_every_form_is_counted(form: Callable[[], nn.Module], calls: int) -> None:
    assert count_rectifiers(made(form), inputs()) == calls

"""A softmax or sigmoid at the end of a network is computed in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchserve_saliency.model.exact_end import ExactEnd
from torchserve_saliency.model.head_search import HeadOptions, find_heads
from torchserve_saliency.model.last_operation import recorded

SATURATED = 18.42  # the logit of 1 - 1e-8
ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: torch.softmax(z, 1),
    "method": lambda z: z.softmax(dim=1),
    "module": nn.Softmax(1),
    "sigmoid": torch.sigmoid,
    "sigmoid module": nn.Sigmoid(),
    "another shape": lambda z: z.sigmoid()[:, :, None, None],
    "squeezed": lambda z: z.softmax(1).squeeze(),
}


class Ending(nn.Module):
    """Saturated logits, and the end of a network."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(x.mean((2, 3)) * 0.1 + torch.tensor([SATURATED, 0.0, -3.0]))


def exact_and_rounded(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Return the probabilities, the gradient of the first one for one picture, and the dtype of the output."""
    with recorded(network):
        pair = torch.cat([x, x + 1]).requires_grad_()
        heads = find_heads(network(pair), network(pair[:1]), HeadOptions(activation="none"))
    forward, x = heads.forward(network), x.clone().requires_grad_()
    output = forward(x)
    (gradient,) = torch.autograd.grad(output[0, 0], x)
    return output.detach(), gradient, heads.rounded().forward(network)(x.detach()).dtype


@pytest.mark.parametrize("end", ENDS)
def test_a3_a_saturated_probability_has_an_exact_value_and_gradient(end: str) -> None:
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    network = Ending(ENDS[end])
    output, gradient, rounded = exact_and_rounded(network, x)
    leaf = x.double().requires_grad_()
    right = network(leaf).reshape(1, -1)
    (right_gradient,) = torch.autograd.grad(right[0, 0], leaf)
    assert (output.dtype, rounded) == (torch.float64, torch.float32)
    assert 0 < 1 - float(output[0, 0]) < 2e-8
    torch.testing.assert_close(output, right.detach(), rtol=1e-6, atol=0)
    assert float((gradient - right_gradient).norm() / right_gradient.norm()) < 1e-5


def test_other_results_of_the_network_stay_in_float32() -> None:
    gate = torch.randn(2, 3)
    with ExactEnd() as end:
        scaled = gate.sigmoid() * gate  # a gate within the network
        attention = torch.softmax(torch.randn(2, 2, 4, 4), -1)
    assert (scaled.dtype, attention.dtype) == (torch.float32, torch.float32)
    assert end.exact(scaled) is scaled


def test_a_result_that_was_changed_in_place_is_not_replaced() -> None:
    with ExactEnd() as end:
        output = torch.full((1, 1), SATURATED).sigmoid()
        assert math.isclose(float(end.exact(output)), 1 - 1e-8, abs_tol=1e-9)
        output.mul_(0.5)
    assert end.exact(output) is output

"""Helpers to run methods in float64: a linear network, an input that is not square, and exact Shapley values."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import torch
from torch import Tensor, nn

from tests.driving import Driven, driven
from tests.networks import CLASSES, Modules, classifier, inputs, made
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import CHUNK, Maps, Subject

X = inputs(dtype=torch.float64)
TALL = torch.randn(1, 3, 22, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


class Linear(nn.Module):
    """A network with logits that are linear in every pixel."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(CLASSES, *x.shape[1:], dtype=x.dtype, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.weight) + torch.arange(CLASSES)


def spec_of(x: Tensor) -> InputSpec:
    """Return the spec of a network with inputs of the size of `x`."""
    channels, height, width = x.shape[1:]
    return InputSpec((height, width), (height, width), "bilinear", (0.5,) * channels, (0.25,) * channels)


def drive(network: nn.Module, method: str, parameters: object, objective: Objective, x: Tensor = X) -> Driven[Maps]:
    """Run a method for an input; assert that its first row is the input and that no chunk is too large."""
    model = replace(classifier(made(Modules, dtype=x.dtype)), network=network)
    found = driven(model, METHODS[method].function(Subject(x, objective, spec_of(x)), parameters))
    torch.testing.assert_close(found.requested[0].inputs[:1], x, rtol=0, atol=0)
    assert all(0 < len(rows.inputs) <= CHUNK for rows in found.requested)
    return found


def pixel_effects(network: Linear, x: Tensor, target: int, absent: Tensor | float = 0.0) -> Tensor:
    """Return the effect of each pixel of an input [1, C, H, W] on a logit of a linear network, [H, W]."""
    return (network.weight[target] * (x - absent)[0]).sum(0).detach()


def sum_by_segment(values: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of values [H, W] over each pixel's segment, [1, H, W]."""
    sums = torch.stack([values[labels == label].sum() for label in range(int(labels.max()) + 1)])
    return sums[labels][None]


def shapley_values(network: nn.Module, x: Tensor, labels: Tensor, target: int) -> Tensor:
    """Return the exact Shapley values [count] of the segments of an input; absent pixels are 0."""
    count = int(labels.max()) + 1
    values = torch.zeros(count, dtype=x.dtype)
    for player in range(count):
        others = [p for p in range(count) if p != player]
        for size in range(count):
            for coalition in combinations(others, size):
                gain = coalition_logit(network, x, labels, target, (*coalition, player)) - coalition_logit(
                    network, x, labels, target, coalition
                )
                values[player] += gain / (count * comb(count - 1, size))
    return values


def coalition_logit(network: nn.Module, x: Tensor, labels: Tensor, target: int, coalition: tuple[int, ...]) -> Tensor:
    """Return the logit of an input with only the segments of a coalition."""
    there = torch.isin(labels, torch.tensor(coalition, dtype=labels.dtype))
    with torch.no_grad():
        logit: Tensor = network(x * there)[0, target]
    return logit

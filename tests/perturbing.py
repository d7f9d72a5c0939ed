"""Methods driven by hand in float64: linear networks, inputs that are not square, and how many rows are evaluated."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import torch
from torch import Tensor, nn

from saliency.image import InputSpec
from saliency.methods import METHODS
from saliency.methods.base import CHUNK, Maps, Subject
from saliency.objective import Objective
from tests.driving import Driven, driven
from tests.networks import CLASSES, Modules, classifier, inputs, made

X = inputs(dtype=torch.float64)
TALL = torch.randn(1, 3, 22, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


class Linear(nn.Module):
    """Logits that are linear in every pixel."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(CLASSES, *x.shape[1:], dtype=x.dtype, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.weight) + torch.arange(CLASSES)


def spec_of(x: Tensor) -> InputSpec:
    """Return what a network says that takes inputs as large as `x`."""
    channels, height, width = x.shape[1:]
    return InputSpec((height, width), (height, width), "bilinear", (0.5,) * channels, (0.25,) * channels)


def drive(network: nn.Module, method: str, parameters: object, objective: Objective, x: Tensor = X) -> Driven[Maps]:
    """Return what a method makes of an input."""
    model = replace(classifier(made(Modules, dtype=x.dtype)), network=network)
    found = driven(model, METHODS[method].function(Subject(x, objective, spec_of(x)), parameters))
    torch.testing.assert_close(found.asked[0].inputs[:1], x, rtol=0, atol=0)
    assert all(0 < len(rows.inputs) <= CHUNK for rows in found.asked)
    return found


def effects(network: Linear, x: Tensor, target: int, absent: Tensor | float = 0.0) -> Tensor:
    """Return what each pixel of an input [1, C, H, W] adds to a linear network's logit, [H, W]."""
    return (network.weight[target] * (x - absent)[0]).sum(0).detach()


def by_segment(values: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of values [H, W] over each pixel's segment, [1, H, W]."""
    sums = torch.stack([values[labels == label].sum() for label in range(int(labels.max()) + 1)])
    return sums[labels][None]


def shapley(network: nn.Module, x: Tensor, labels: Tensor, target: int) -> Tensor:
    """Return the Shapley values [count] of the segments of an input, by all coalitions, absent pixels 0."""
    count = int(labels.max()) + 1
    values = torch.zeros(count, dtype=x.dtype)
    for player in range(count):
        others = [p for p in range(count) if p != player]
        for size in range(count):
            for team in combinations(others, size):
                gain = worth(network, x, labels, target, (*team, player)) - worth(network, x, labels, target, team)
                values[player] += gain / (count * comb(count - 1, size))
    return values


def worth(network: nn.Module, x: Tensor, labels: Tensor, target: int, team: tuple[int, ...]) -> Tensor:
    """Return the logit of an input of which only the segments of a team are there."""
    there = torch.isin(labels, torch.tensor(team, dtype=labels.dtype))
    with torch.no_grad():
        logit: Tensor = network(x * there)[0, target]
    return logit

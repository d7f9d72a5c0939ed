"""Small networks, each with a property that methods must handle, and classifiers of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.transformer import Transformer
from tools.corpus.tiny_network import classifier_of
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.model.classifier import Classifier

SIZE = 16
CLASSES = 5


class Modules(nn.Module):
    """Two convolutions and a linear head; one ReLU module is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.relu(self.second(x))
        return self.head(x.mean((2, 3)))


class Functional(Modules):
    """The same network, with ReLU as a function and as a method."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = self.second(x).relu()
        return self.head(x.mean((2, 3)))


class InPlace(Modules):
    """The same network, with ReLU in place; the result of the second call is not used."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=True)
        x = self.second(x)
        x.relu_()
        return self.head(x.mean((2, 3)))


class Six(Modules):
    """The same network with ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU6(inplace=True)  # type: ignore[assignment]


class Tokens(Transformer):
    """A small transformer whose head reads only the class token."""


class Flat(nn.Module):
    """A network without convolution, ReLU or spatial grid."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * SIZE * SIZE, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x.flatten(1))))


def made(make: Callable[[], nn.Module], seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a frozen network with seeded weights; for one seed, all variants of `Modules` have the same weights."""
    torch.manual_seed(seed)
    return make().to(dtype).eval().requires_grad_(False)


def classifier(network: nn.Module, size: int = SIZE, limits: Limits | None = None, **defaults: object) -> Classifier:
    """Return a classifier of a network; the keyword arguments are its default options."""
    with torch.no_grad():
        classes = network(torch.zeros(1, 3, size, size, dtype=next(network.parameters()).dtype)).shape[1]
    names = ("cat", "dog", "crane", "apple pie", "crane", *map(str, range(5, classes)))[:classes]
    return classifier_of(network, size, names, limits or Limits(), defaults)


def inputs(count: int = 1, size: int = SIZE, seed: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return seeded inputs [count, 3, size, size]."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed)).to(dtype)

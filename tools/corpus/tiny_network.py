"""A very small classifier that supports every method except those for attention layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.activation import SOFTMAX, Activation
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.heads import single_head
from torchserve_saliency.model.layers import find_layers
from torchserve_saliency.model.self_attention import find_attention
from torchserve_saliency.propagation.relu_rules import count_rectifiers

NONE: Mapping[str, object] = MappingProxyType({})
LABELS = ("cat", "dog", "crane", "apple pie", "crane", "Ça va?", "日本", "it's; a = b & c/d")


def small_classifier(limits: Limits | None = None) -> Classifier:
    """Return a seeded classifier of 16 x 16 pixels with unusual labels: duplicates, spaces, non-ASCII characters."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(LABELS)))
    return classifier_of(nn.Sequential(*layers).eval().requires_grad_(False), 16, LABELS, limits or Limits())


def classifier_of(
    network: nn.Module,
    size: int,
    labels: Sequence[str],
    limits: Limits,
    defaults: Mapping[str, object] = NONE,
    activation: Activation = SOFTMAX,
) -> Classifier:
    """Return the classifier of a frozen network on the CPU. Its input is a colour picture of `size` x `size` pixels."""
    dtype = next(network.parameters()).dtype
    example = torch.randn(1, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return Classifier(
        name="net",
        version="1.0",
        network=network,
        device=torch.device("cpu"),
        memory_format=torch.contiguous_format,
        heads=single_head(labels, activation),
        input=InputSpec((size, size), (size,), "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        layers=find_layers(network, network, example),
        rectifiers=count_rectifiers(network, example),
        attention=find_attention(network, torch.cat([example, -example])),
        defaults=defaults,
        limits=limits,
        self_check={},
    )

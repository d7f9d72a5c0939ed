"""A network as small as can be that takes every kind of method but attention, ready to explain."""

from __future__ import annotations

import torch
from torch import nn

from saliency.image import InputSpec
from saliency.labels import Labels
from saliency.layers import find_layers
from saliency.model import Classifier
from saliency.rules import count_rectifiers
from saliency.transformers import find_attention
from saliency.unpacked import Limits

LABELS = ("cat", "dog", "crane", "apple pie", "crane", "Ça va?", "日本", "it's; a = b & c/d")


def small_classifier(limits: Limits | None = None) -> Classifier:
    """Return a seeded classifier of 16 x 16 pixels, its labels awkward ones."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(LABELS)))
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    example = torch.randn(1, 3, 16, 16)
    return Classifier(
        name="net",
        version="1.0",
        network=network,
        device=torch.device("cpu"),
        memory_format=torch.contiguous_format,
        labels=Labels(LABELS),
        input=InputSpec((16, 16), (16,), "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        layers=find_layers(network, network, example),
        rectifiers=count_rectifiers(network, example),
        attention=find_attention(network, torch.cat([example, -example])),
        defaults={},
        limits=limits or Limits(),
        self_check={},
    )

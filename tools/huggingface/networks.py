"""Small random image classifiers of transformers, one per architecture."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 7
SIDE = 64
_TRANSFORMER = MappingProxyType(
    {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "image_size": 64,
        "patch_size": 16,
        "num_labels": CLASSES,
    }
)
_WINDOWS = MappingProxyType(
    {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 64, "num_labels": CLASSES}
)
# by the prefix of the classes of transformers: the arguments of the configuration
CONFIGURATIONS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "ViT": _TRANSFORMER,
        "DeiT": _TRANSFORMER,
        "Beit": {**_TRANSFORMER, "use_relative_position_bias": True},
        "Dinov2": {**_TRANSFORMER, "image_size": 56, "patch_size": 8},
        "Swin": _WINDOWS,
        "Swinv2": _WINDOWS,
        "ConvNext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1], "num_labels": CLASSES},
        "ResNet": {
            "embedding_size": 16,
            "hidden_sizes": [16, 32],
            "depths": [1, 1],
            "layer_type": "basic",
            "num_labels": CLASSES,
        },
        "MobileViT": {
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
            "image_size": 64,
            "num_labels": CLASSES,
        },
        "EfficientNet": {
            "image_size": 64,
            "width_coefficient": 0.25,
            "depth_coefficient": 0.25,
            "hidden_dim": 320,
            "num_labels": CLASSES,
        },
        "Siglip": {
            "vision_config": {key: value for key, value in _TRANSFORMER.items() if key != "num_labels"},
            "text_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50},
            "num_labels": CLASSES,
        },
    }
)


def classifier(name: str, seed: int = 0) -> Any:
    """Return a seeded classifier; the statistics of its batch norms are random, too."""
    package = importlib.import_module("transformers")
    torch.manual_seed(seed)
    config = getattr(package, f"{name}Config")(**CONFIGURATIONS[name])
    network = getattr(package, f"{name}ForImageClassification")(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():  # biases and tables of zeros would hide an error
                parameter.normal_(0, 0.05)
    patterns_of_norms(network, SIDE)
    return network


@torch.no_grad()
def patterns_of_norms(network: Any, side: int) -> None:
    """Set the statistics of batch norms to those of random pictures; with their initial ones, activations vanish."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval()
    if not norms:
        return
    for norm in norms:
        norm.train().momentum = None
        nn.init.ones_(norm.weight)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    network(pixel_values=torch.randn(4, 3, side, side))
    network.eval()


def save(network: Any, folder: Path) -> None:
    """Write a classifier to a folder, with a preprocessing of SIDE x SIDE pixels and class names."""
    package = importlib.import_module("transformers")
    names = [f"kind {index}" for index in range(network.config.num_labels)]
    network.config.update({"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}})
    network.save_pretrained(folder)
    package.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


class Logits(nn.Module):
    """A network of transformers that takes a tensor and returns one."""

    def __init__(self, network: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=x).logits
        return logits

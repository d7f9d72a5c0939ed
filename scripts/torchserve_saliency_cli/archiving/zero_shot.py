"""Networks that compare a picture with fixed texts, each of which is a class (CLIP, SigLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class ZeroShot(nn.Module):
    """The logits of pictures for fixed texts: scale · cos(picture, text) + bias.

    `texts` are the normalised embeddings of the texts [k, d]. Radford et al. 2021 (CLIP), Zhai et al. 2023 (SigLIP,
    which has a bias).
    """

    def __init__(self, tower: nn.Module, texts: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(texts.shape[1], texts.shape[0], bias=bias is not None)
        with torch.no_grad():
            self.head.weight.copy_(scale.exp() * texts)
            if bias is not None:
                self.head.bias.copy_(bias.expand(len(texts)))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.tower(x)
        logits: Tensor = self.head(features / features.norm(p=2, dim=-1, keepdim=True))
        return logits


class _Tower(nn.Module):
    """The picture's side of a network of transformers."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.vision_model: nn.Module = network.vision_model
        self.visual_projection: nn.Module = getattr(network, "visual_projection", None) or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.visual_projection(self.vision_model(pixel_values=x).pooler_output)
        return features


@torch.no_grad()
def zero_shot_network(network: Any, tokens: Mapping[str, Tensor]) -> nn.Module:
    """Return the classifier of a network of transformers whose classes are the texts of `tokens`, one per row."""
    side = network.config.vision_config.image_size
    texts = network(**tokens, pixel_values=torch.zeros(1, 3, side, side)).text_embeds
    return ZeroShot(_Tower(network), texts, network.logit_scale, getattr(network, "logit_bias", None)).eval()

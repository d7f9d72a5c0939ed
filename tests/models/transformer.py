"""A small transformer to which attention rollout applies."""

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    """A class token and patches, one attention block, and a head that reads only the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 12))
        self.norm = nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        normed = self.norm(tokens)
        return self.head((tokens + self.attention(normed, normed, normed)[0])[:, 0])

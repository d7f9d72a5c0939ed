"""The leaf classifier: a small residual network with a score per class and cell of the picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SHARPNESS = 0.5


class LeafNet(nn.Module):
    """Logits [n, outputs] from pictures [n, 3, 224, 224] with values in -1 to 1.

    The outputs of the embedded model are healthy, rust, scab and black rot.

    Downsampling uses 4 by 4 kernels with stride 2, which cover every pixel equally often; 3 by 3 kernels would leave a
    checkerboard in every gradient. A logit is the smooth maximum (log-mean-exp, scaled by SHARPNESS) of the scores of
    its class over cells of 8 by 8 pixels, so that a few small spots decide, and the gradients lead to them.
    """

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        self.stem = self._convolution(3, 16, 4, 2)
        self.edges = self._convolution(16, 24, 4, 2)
        self.textures = self._residual(24)
        self.spots = self._convolution(24, 48, 4, 2)
        self.lesions = self._residual(48)
        self.leaf = self._residual(48)
        self.mix = self._convolution(48, 64, 1, 1)
        self.evidence = nn.Conv2d(64, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.edges(functional.relu(self.stem(x))))
        x = functional.relu(x + self.textures(x))
        x = functional.relu(self.spots(x))
        x = functional.relu(x + self.lesions(x))
        x = functional.relu(x + self.leaf(x))
        cells = self.evidence(functional.relu(self.mix(x))).flatten(2)
        return (torch.logsumexp(cells * SHARPNESS, dim=2) - math.log(cells.shape[2])) / SHARPNESS

    @staticmethod
    def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
        padding = (kernel - 1) // 2
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs))

    @staticmethod
    def _residual(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

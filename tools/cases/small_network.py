"""The network of most cases: small enough that a request takes milliseconds."""

from torch import nn


class SmallNetwork(nn.Sequential):
    """Two convolutions and a linear layer, for pictures of 32 x 32 pixels and four classes."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )

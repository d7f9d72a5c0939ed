"""A network without convolutions and layers with a spatial grid, for which class activation maps do not exist."""

from torch import Tensor, nn


class Flat(nn.Module):
    """Two linear layers with a ReLU in between."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 32 * 32, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.flatten(1)).relu())

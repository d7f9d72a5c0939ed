"""A network without ReLU, to which guided backpropagation does not apply."""

from torch import Tensor, nn


class Gelu(nn.Module):
    """One convolution, one GELU, one linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.gelu(self.features(x)).mean((2, 3)))

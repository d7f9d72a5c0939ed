"""A network that fails on pictures of one colour, as real networks fail on rare inputs."""

import torch
from torch import Tensor, nn


class Awkward(nn.Module):
    """A small network; red raises out of memory, green raises another error, blue makes the logits infinite or NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        colour = x.amax((2, 3)) - x.mean((1, 2, 3))[:, None]
        flat = (x.amax((2, 3)) - x.amin((2, 3))).amax(1) < 1e-3
        red, green, blue = (flat & (colour[:, i] > 1.3) for i in range(3))
        if red.any():
            raise torch.cuda.OutOfMemoryError("CUDA out of memory: /a/path")
        if green.any():
            raise RuntimeError("a defect in /a/path")
        logits = self.head(self.features(x).relu().mean((2, 3)))
        return {"features": x.mean((2, 3)), "logits": logits / (~blue[:, None]).to(logits)}

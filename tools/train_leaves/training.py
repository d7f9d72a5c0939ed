"""The training of the leaf classifier, and its accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import trange

from tools.train_leaves.pictures import Pictures
from torchserve_saliency_cli.leaves.network import LeafNet

BATCH = 32
LABEL_SMOOTHING = 0.015


def normalised(pixels: Tensor) -> Tensor:
    """Return pixels uint8 [n, H, W, 3] as input of the network: float32 [n, 3, H, W] from -1 to 1, channels last."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augmented(x: Tensor, rng: torch.Generator) -> Tensor:
    """Return the batch with random flips, transposition, brightness, colour and noise."""
    for dimension in (2, 3):
        if torch.rand((), generator=rng) < 0.5:
            x = x.flip(dimension)
    if torch.rand((), generator=rng) < 0.5:
        x = x.transpose(2, 3)
    n = x.shape[0]
    gain = 1 + 0.12 * torch.randn((n, 3, 1, 1), generator=rng) + 0.12 * torch.randn((n, 1, 1, 1), generator=rng)
    lift = 0.08 * torch.randn((n, 3, 1, 1), generator=rng)
    noise = torch.randn((1, *x.shape[1:]), generator=rng).contiguous(memory_format=torch.channels_last)
    strength = 0.15 * torch.rand((n, 1, 1, 1), generator=rng)
    return torch.addcmul(torch.addcmul(lift, x, gain), noise, strength).contiguous(memory_format=torch.channels_last)


def train(pictures: Pictures, epochs: int, seed: int) -> LeafNet:
    """Return the network trained on the pictures, in evaluation mode.

    The loss is the binary cross entropy of each class. So a logit depends on the evidence for its class, and not on
    missing evidence for other classes, which makes saliency maps easier to check. Each output can be used alone, and
    the sigmoids of several diseases tell which of them a leaf has.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    network = LeafNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    epoch_rows = len(pictures.pixels) // BATCH * BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, epochs * epoch_rows // BATCH, pct_start=0.2)
    bar = trange(epochs, desc="training", unit="epoch")
    for _ in bar:
        order = torch.randperm(len(pictures.pixels), generator=rng)[:epoch_rows].split(BATCH)
        losses = [_step(network, optimizer, schedule, pictures, rows, rng) for rows in order]
        bar.set_postfix(loss=f"{np.mean(losses):.3f}")
    return network.eval()


def _step(
    network: LeafNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pictures: Pictures,
    rows: Tensor,
    rng: torch.Generator,
) -> float:
    x = augmented(normalised(pictures.pixels[rows]), rng)
    targets = pictures.present[rows] * (1 - 2 * LABEL_SMOOTHING) + LABEL_SMOOTHING
    loss = functional.binary_cross_entropy_with_logits(network(x), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return float(loss.detach())


@torch.inference_mode()
def classify(network: LeafNet, pixels: Tensor) -> Tensor:
    """Return the logits [n, 4] of pictures uint8 [n, 224, 224, 3]."""
    return torch.cat([network(normalised(part)) for part in pixels.split(50)])


def accuracy(network: LeafNet, pictures: Pictures) -> float:
    """Return the share of pictures whose class has the greatest logit, for pictures with one class."""
    return float((classify(network, pictures.pixels).argmax(1) == pictures.present.argmax(1)).float().mean())


def diseases_told(network: LeafNet, pictures: Pictures) -> list[float]:
    """Return for each class but the first (healthy) the share of pictures whose logit tells if they belong to it."""
    found = classify(network, pictures.pixels)[:, 1:] > 0
    shares: list[float] = (found == pictures.present[:, 1:].bool()).float().mean(0).tolist()
    return shares


def both_recognised(network: LeafNet, pictures: Pictures) -> float:
    """Return the share of pictures whose two diseases have the two greatest logits."""
    first_two = classify(network, pictures.pixels).topk(2).indices
    return float((pictures.present.gather(1, first_two) > 0).all(1).float().mean())

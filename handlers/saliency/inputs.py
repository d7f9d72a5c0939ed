"""Pictures to rows of the network's input, on its device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency.image import Picture, normalise


def network_inputs(pictures: Sequence[Picture], device: torch.device) -> list[Tensor]:
    """Return each picture as a row [1, C, H, W] on the device.

    A GPU is sent the bytes of all pictures in one transfer from pinned memory, a quarter of the floats, and
    normalises them itself.
    """
    sent = [] if device.type == "cpu" else [picture for picture in pictures if picture.given is None]
    rows = iter(uploaded(sent, device).split(1) if sent else ())
    return [next(rows) if sent and picture.given is None else picture.tensor[None].to(device) for picture in pictures]


def uploaded(pictures: Sequence[Picture], device: torch.device) -> Tensor:
    """Return pictures of one size as a batch [n, C, H, W], sent as bytes and normalised on the device."""
    shape = (len(pictures), *pictures[0].pixels.shape)
    staged = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    torch.stack([torch.from_numpy(picture.pixels) for picture in pictures], out=staged)
    return normalise(staged.to(device, non_blocking=True), pictures[0].spec)

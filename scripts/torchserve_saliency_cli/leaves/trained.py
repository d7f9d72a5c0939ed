"""The embedded model without an archive: its network with its weights, and its labels."""

from __future__ import annotations

from pathlib import Path

import torch

from torchserve_saliency.model.labels import read_labels
from torchserve_saliency_cli.leaves.network import LeafNet

_FOLDER = Path(__file__).parent


def trained_network() -> LeafNet:
    """Return the leaf classifier with its trained weights, in eval mode."""
    network = LeafNet()
    network.load_state_dict(torch.load(_FOLDER / "leaves.pt", weights_only=True))
    return network.eval()


def label_names() -> tuple[str, ...]:
    """Return the names of its classes."""
    return read_labels(_FOLDER / "labels.txt")

"""The memory that autograd needs for each row of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchserve_saliency.model.logits import Forward


def row_bytes(network: nn.Module, forward: Forward, row: Tensor) -> int:
    """Return the bytes that each additional `row` [1, C, H, W] of a batch occupies between forward and backward pass.

    `forward` runs `network`. Parameters and their copies in reduced precision are not counted.
    """
    one, two = (_saved_bytes(network, forward, torch.cat([row] * count)) for count in (1, 2))
    return row.nbytes + max(0, two - one)


def _saved_bytes(network: nn.Module, forward: Forward, x: Tensor) -> int:
    """Return the bytes of the tensors that autograd saves for the backward pass of a batch, without parameters."""
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = forward(x.requires_grad_())
        del logits
    return sum(saved.values())

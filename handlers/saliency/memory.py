"""How many rows the network can take at once, found by weighing what autograd keeps of one; and how memory is kept."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from saliency.passes import Forward

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's names for them in malloc.h
KEPT = 256 << 20


def keep_freed_memory() -> None:
    """Let glibc keep 256 MiB of what is freed, instead of fetching every activation's pages anew from the system.

    Without it, an explanation that follows one of many passes takes half as long again. Elsewhere it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, 32 << 20)


def row_bytes(network: nn.Module, forward: Forward, row: Tensor) -> int:
    """Return the bytes that autograd keeps between forward and backward for every further `row` [1, C, H, W].

    `forward` runs `network`. Parameters are not counted, nor what a reduced precision makes of them.
    """
    one, two = (_kept_bytes(network, forward, torch.cat([row] * count)) for count in (1, 2))
    return row.nbytes + max(0, two - one)


def _kept_bytes(network: nn.Module, forward: Forward, x: Tensor) -> int:
    """Return the bytes that autograd keeps of a batch between forward and backward."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        logits = forward(x.requires_grad_())
        del logits
    return sum(kept.values())

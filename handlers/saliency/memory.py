"""How many rows the network can take at once, found by weighing what autograd keeps of one; and how memory is kept."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from saliency.model import Classifier

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


def capacity(classifier: Classifier) -> int:
    """Return the rows of a batch whose graph fits the archive's memory limit, at least one."""
    limits = classifier.limits
    return max(1, min(limits.rows(classifier.device), limits.memory_bytes // max(1, row_bytes(classifier))))


def row_bytes(classifier: Classifier) -> int:
    """Return the bytes that autograd keeps for one row between forward and backward, parameters not counted."""
    own = {p.untyped_storage().data_ptr() for p in classifier.network.parameters()}
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    height, width = classifier.input.size
    x = torch.zeros(1, classifier.input.channels, height, width, device=classifier.device, requires_grad=True)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        logits = classifier.forward(x.contiguous(memory_format=classifier.memory_format))
        del logits
    return x.nbytes + sum(kept.values())

"""A classifier in float64, in spite of casts to float32 in its network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchserve_saliency.model.classifier import Classifier


class _Double(TorchFunctionMode):
    """Replaces float32 by float64 in the network's own calls."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        wide = {key: torch.float64 if value is torch.float32 else value for key, value in (kwargs or {}).items()}
        args = [torch.float64 if value is torch.float32 else value for value in args]
        wider: Callable[..., Any] = Tensor.double if func is Tensor.float else func
        return wider(*args, **wide)


@contextmanager
def doubled(classifier: Classifier) -> Iterator[Classifier]:
    """Yield the classifier in float64; inside the context, new tensors are float64 too."""
    network = copy.deepcopy(classifier.network).double().to(memory_format=torch.contiguous_format)
    torch.set_default_dtype(torch.float64)
    try:
        with _Double():
            yield replace(classifier.bare(), network=network, memory_format=torch.contiguous_format)
    finally:
        torch.set_default_dtype(torch.float32)

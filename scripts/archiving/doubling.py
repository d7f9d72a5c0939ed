"""A classifier in float64, whatever its network says of float32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from saliency.model import Classifier


class _Double(TorchFunctionMode):
    """Float64 wherever the network itself says float32."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        wide = {key: torch.float64 if value is torch.float32 else value for key, value in (kwargs or {}).items()}
        args = [torch.float64 if value is torch.float32 else value for value in args]
        wider: Callable[..., Any] = Tensor.double if func is Tensor.float else func
        return wider(*args, **wide)


@contextmanager
def doubled(classifier: Classifier) -> Iterator[Classifier]:
    """Give the classifier in float64, inside a context in which everything is."""
    network = copy.deepcopy(classifier.network).double().to(memory_format=torch.contiguous_format)
    torch.set_default_dtype(torch.float64)
    try:
        with _Double():
            yield replace(classifier.bare(), network=network, memory_format=torch.contiguous_format)
    finally:
        torch.set_default_dtype(torch.float32)

"""The softmax or sigmoid at the end of a network, computed in float64."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FUNCTIONS: Collection[Callable[..., Any]] = frozenset(
    {
        *(torch.softmax, Tensor.softmax, F.softmax, torch.log_softmax, Tensor.log_softmax, F.log_softmax),
        *(torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.special.expit),
    }
)


class ExactEnd(TorchFunctionMode):
    """Computes softmax and sigmoid of vectors in float64 while a network runs inside this context.

    Float32 rounds a probability of 1 - 1e-8 to 1, and its gradient to 0. The network gets the result rounded to
    float32, with the exact gradient, and `exact` returns the result that was not rounded.
    """

    def __init__(self) -> None:
        super().__init__()
        self._results: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        values, options = (args[0] if args else None), dict(kwargs or {})
        if func not in _FUNCTIONS or not isinstance(values, Tensor) or not _is_vector(values):
            return func(*args, **options)
        exact: Tensor = func(values.double(), *args[1:], **options)
        self._results.append(exact)
        return exact.float()

    def exact(self, output: Tensor) -> Tensor:
        """Return a network's output as it was before it was rounded, if it is such a result; else the output itself."""
        for result in self._results:
            if result.numel() == output.numel():
                shaped: Tensor = result.reshape(output.shape)
                if torch.equal(shaped.detach().float(), output.detach()):
                    return shaped
        return output


def _is_vector(values: Tensor) -> bool:
    """Tell if a tensor holds one float32 vector per picture, also with further dimensions of size 1."""
    sizes = [size for size in values.shape[1:] if size != 1]
    return values.dtype == torch.float32 and len(sizes) <= 1

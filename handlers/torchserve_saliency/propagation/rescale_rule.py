"""DeepLIFT's backward pass (Shrikumar et al. 2017): multipliers of differences from a baseline replace gradients.

The rescale rule sets the multiplier of a nonlinearity to (y - y0) / (x - x0), for an activation x with the baseline x0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchserve_saliency.errors import RequestError
from torchserve_saliency.propagation.function_calls import FunctionCall
from torchserve_saliency.propagation.multipliers import (
    MaxPoolMultipliers,
    MultilinearMidpoint,
    SoftmaxMultipliers,
    Swap,
)
from torchserve_saliency.propagation.rule_mode import RuleMode, Secant
from torchserve_saliency.propagation.torch_functions import OperationType


@dataclass(frozen=True)
class Rescale:
    """A mode for pairs of rows, an input and its baseline. The gradient of each is the multiplier m of the pair.

    For each pair, Σ m (input - baseline) is the difference of the differentiated output, if the network consists of
    linear functions, elementwise nonlinearities, maximum pooling, products, softmax, and normalisations, which are made
    of these. Any other function keeps its derivative, so the sum may differ.
    """

    group_size: int = 2
    captures: bool = False

    def around(self, rows: int) -> AbstractContextManager[Mapping[str, Tensor]]:
        """Apply the rule to the forward pass of a batch of `rows` rows; it yields no further outputs."""
        return _around(rows)


@contextmanager
def _around(rows: int) -> Iterator[Mapping[str, Tensor]]:
    with _RescaleMode(rows):
        yield {}


class _RescaleMode(RuleMode):
    """The rule for a batch of `rows` rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    def rule(self, call: FunctionCall) -> Any:
        return _RULES[call.type](call, self._swap)

    def scale_rule(self, scale: Tensor) -> Tensor:
        return scale

    def _swap(self, x: Tensor) -> Tensor:
        """Return `x` [k·n, …] with the two rows of each pair exchanged; a network may cut each picture in k windows.

        Raise RequestError 422 if the first dimension is not a multiple of the batch size n.
        """
        windows, rest = divmod(x.shape[0], self._rows) if x.dim() else (0, 1)
        if rest or not windows:
            message = "DeepLIFT needs the batch as the first dimension of every activation, and this network moves it"
            raise RequestError(422, "MethodException", message, "method")
        swapped: Tensor = x.unflatten(0, (self._rows // 2, 2, windows)).flip(1).flatten(0, 2)
        return swapped


def _elementwise(call: FunctionCall, swap: Swap) -> Any:
    """Return a nonlinearity with the multiplier (y - y0) / (x - x0)."""
    if len(call.activations) > 1:
        return call.evaluate()
    return Secant.apply(call.activations[0], call.function, lambda x, y: (swap(x), swap(y)))


def _multilinear(call: FunctionCall, swap: Swap) -> Any:
    """Return a function that is linear in each activation, differentiated at the midpoint if there are several."""
    if len(call.activations) == 1:
        return call.evaluate()
    return MultilinearMidpoint.apply(call.function, swap, *call.activations)


def _softmax(call: FunctionCall, swap: Swap) -> Any:
    dim = call.argument(1, "dim")
    if dim is None:
        return call.evaluate()
    return SoftmaxMultipliers.apply(call.activations[0], call.function, call.name == "log_softmax", dim, swap)


def _max_pool(call: FunctionCall, swap: Swap) -> Any:
    adaptive = call.name.startswith("adaptive")
    pool = getattr(F, call.name.removesuffix("_with_indices"))
    options = {k: v for k, v in call.kwargs.items() if k not in ("input", "return_indices")}
    args = call.args[1 : 2 if adaptive else 6]
    y, indices = MaxPoolMultipliers.apply(
        call.activations[0], lambda x: pool(x, *args, **options, return_indices=True), swap
    )
    return (y, indices) if call.name.endswith("indices") else y


_RULES: Mapping[OperationType, Callable[[FunctionCall, Swap], Any]] = MappingProxyType(
    {
        OperationType.ELEMENTWISE: _elementwise,
        OperationType.LINEAR: _multilinear,
        OperationType.SCALING: _multilinear,
        OperationType.SOFTMAX: _softmax,
        OperationType.MAX_POOL: _max_pool,
    }
)

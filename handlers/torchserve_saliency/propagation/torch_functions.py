"""Torch functions by the type of operation that they perform, in every form in which they can be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TorchFunction = Callable[..., Any]


class OperationType(Enum):
    """The type of an operation on activations, that is, on tensors that depend on the network's input.

    ELEMENTWISE: a nonlinearity applied to each element. LINEAR: a weighted sum, or a matrix product of two activations.
    SCALING: an elementwise product. DIVISION, SOFTMAX and MAX_POOL: the operations of these names.
    """

    ELEMENTWISE = auto()
    LINEAR = auto()
    SCALING = auto()
    DIVISION = auto()
    SOFTMAX = auto()
    MAX_POOL = auto()


# nonlinearities with f(x) = f'(x) x: they are linear on either side of 0
RECTIFIERS = ("relu", "leaky_relu", "prelu")
_ELEMENTWISE = (
    *("relu6", "hardtanh", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish", "hardsigmoid"),
    *("sigmoid", "tanh", "logsigmoid", "log_sigmoid", "softsign", "tanhshrink", "hardshrink", "softshrink", "rrelu"),
    *("threshold", "_threshold", "clamp", "clip", "clamp_min", "clamp_max", "expit", "erf", "exp", "expm1", "exp2"),
    *("log", "log1p", "log2", "sqrt", "rsqrt", "reciprocal", "abs", "square", "sin", "cos", "atan", "arctan"),
    *("pow", "float_power", "__pow__", "__rpow__", "__ipow__", "__rdiv__", "__rtruediv__"),
)
_LINEAR = (
    *("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("matmul", "mm", "bmm", "mv", "einsum", "addmm", "tensordot", "batch_norm", "__matmul__", "__rmatmul__"),
)
_NAMES: Mapping[OperationType, tuple[str, ...]] = MappingProxyType(
    {
        OperationType.ELEMENTWISE: (*RECTIFIERS, *_ELEMENTWISE),
        OperationType.LINEAR: _LINEAR,
        OperationType.SCALING: ("mul", "multiply", "__mul__", "__rmul__", "__imul__"),
        OperationType.DIVISION: ("div", "divide", "true_divide", "__truediv__", "__itruediv__"),
        OperationType.SOFTMAX: ("softmax", "log_softmax"),
        OperationType.MAX_POOL: tuple(
            f"{prefix}max_pool{n}d{suffix}"
            for prefix in ("", "adaptive_")
            for n in (1, 2, 3)
            for suffix in ("", "_with_indices")
        ),
    }
)


def functions_named(name: str) -> Iterator[tuple[TorchFunction, bool]]:
    """Yield each function and tensor method of that name, and whether it works in place."""
    for owner in (F, torch, Tensor, torch.special):
        for attribute, inplace in ((name, name.startswith("__i")), (f"{name}_", True)):
            if callable(function := getattr(owner, attribute, None)):
                yield function, inplace


class Operation(NamedTuple):
    """The type and name of an operation that a torch function performs, and whether it works in place."""

    type: OperationType
    name: str
    inplace: bool


OPERATIONS: Mapping[TorchFunction, Operation] = MappingProxyType(
    {
        function: Operation(operation_type, name, inplace)
        for operation_type, names in _NAMES.items()
        for name in names
        for function, inplace in functions_named(name)
    }
)

"""What a torch function is to an attribution rule: elementwise, linear, a product, a pool; in all its spellings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

Function = Callable[..., Any]


class Kind(Enum):
    """What a function does with the activations among its arguments.

    ELEMENTWISE: a nonlinearity of each number. LINEAR: sums of weighted activations, or of products of two.
    SCALING: products number by number. DIVISION, SOFTMAX, MAX_POOL: what they are called.
    """

    ELEMENTWISE = auto()
    LINEAR = auto()
    SCALING = auto()
    DIVISION = auto()
    SOFTMAX = auto()
    MAX_POOL = auto()


# nonlinearities that are linear on either side of 0: what they do to x is to multiply it by their slope there
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
_NAMES: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        Kind.ELEMENTWISE: (*RECTIFIERS, *_ELEMENTWISE),
        Kind.LINEAR: _LINEAR,
        Kind.SCALING: ("mul", "multiply", "__mul__", "__rmul__", "__imul__"),
        Kind.DIVISION: ("div", "divide", "true_divide", "__truediv__", "__itruediv__"),
        Kind.SOFTMAX: ("softmax", "log_softmax"),
        Kind.MAX_POOL: tuple(
            f"{prefix}max_pool{n}d{suffix}"
            for prefix in ("", "adaptive_")
            for n in (1, 2, 3)
            for suffix in ("", "_with_indices")
        ),
    }
)


def spellings(name: str) -> Iterator[tuple[Function, bool]]:
    """Yield each function and method of that name, and whether it works in place."""
    for owner in (F, torch, Tensor, torch.special):
        for spelt, inplace in ((name, name.startswith("__i")), (f"{name}_", True)):
            if callable(function := getattr(owner, spelt, None)):
                yield function, inplace


_SPELT: Mapping[Function, tuple[Kind, str, bool]] = MappingProxyType(
    {
        function: (kind, name, inplace)
        for kind, names in _NAMES.items()
        for name in names
        for function, inplace in spellings(name)
    }
)


def _inplace_position(function: Function) -> int | None:
    """Return where a function takes `inplace`, None where it does not."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # a builtin, none of which takes it
        return None
    return names.index("inplace") if "inplace" in names else None


_POSITIONS: Mapping[Function, int | None] = MappingProxyType({f: _inplace_position(f) for f in _SPELT})


class _Slot(Enum):
    """What stands in a template for tensors that may be replaced."""

    ACTIVATION = auto()
    CONSTANT = auto()


@dataclass(frozen=True)
class Template:
    """A function and its arguments, but for the activations: they are given when it is called.

    `constants` are the other tensors: of a linear function its weight, then its bias.
    """

    function: Function
    inplace: bool
    leaves: Sequence[Any]
    structure: TreeSpec
    constants: tuple[Tensor, ...]

    def __call__(self, *activations: Tensor, constants: Sequence[Tensor] | None = None) -> Any:
        """Return what the function makes of them, and of other constants; nothing is changed in place."""
        given = iter([a.clone() for a in activations] if self.inplace else activations)
        fixed = iter(self.constants if constants is None else constants)
        sources = {_Slot.ACTIVATION: given, _Slot.CONSTANT: fixed}
        leaves = [next(sources[leaf]) if isinstance(leaf, _Slot) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.structure)
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Call:
    """A function on its way to be called, and those of its arguments that hang on the network's input."""

    kind: Kind
    name: str
    inplace: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    activations: tuple[Tensor, ...]
    on: Template

    @classmethod
    def of(cls, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
        """Return the call of a function that is in the table and takes an activation; None of any other."""
        if function not in _SPELT or not torch.is_grad_enabled():
            return None
        kind, name, inplace = _SPELT[function]
        leaves, structure = tree_flatten((args, dict(kwargs)))
        activations = tuple(leaf for leaf in leaves if _slot(leaf) is _Slot.ACTIVATION)
        if not activations:
            return None
        position = _POSITIONS[function]
        if position is not None:
            inplace |= bool(args[position] if len(args) > position else kwargs.get("inplace", False))
        constants = tuple(leaf for leaf in leaves if _slot(leaf) is _Slot.CONSTANT)
        on = Template(function, inplace, [_slot(leaf) for leaf in leaves], structure, constants)
        return cls(kind, name, inplace, args, kwargs, activations, on)

    def plain(self) -> Any:
        """Return what the function returns, by its own derivative."""
        return self.on(*self.activations)

    def argument(self, position: int, name: str) -> Any:
        """Return an argument by its position or name, None where it is not given."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name)


def _slot(leaf: Any) -> Any:
    """Return the slot of a tensor: parameters are frozen, so that what asks for a gradient hangs on the input."""
    if not isinstance(leaf, Tensor):
        return leaf
    return _Slot.ACTIVATION if leaf.requires_grad else _Slot.CONSTANT

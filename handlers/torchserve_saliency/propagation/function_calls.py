"""Intercepted calls of torch functions, which can be evaluated again at other activations or with other constants."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from torchserve_saliency.propagation.torch_functions import OPERATIONS, OperationType, TorchFunction


def _inplace_position(function: TorchFunction) -> int | None:
    """Return the position of the parameter `inplace`, or None without such a parameter."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # a builtin has no signature; none of those listed has this parameter
        return None
    return names.index("inplace") if "inplace" in names else None


_INPLACE_POSITIONS: Mapping[TorchFunction, int | None] = MappingProxyType(
    {function: _inplace_position(function) for function in OPERATIONS}
)


class _Placeholder(Enum):
    """The place of a tensor argument in a BoundFunction."""

    ACTIVATION = auto()
    CONSTANT = auto()


@dataclass(frozen=True)
class BoundFunction:
    """A torch function with all arguments bound except the activations, which are passed when it is called.

    `constants` are the other tensor arguments: for a linear function its weight, then its bias. `leaves` are all
    arguments, flattened by pytree, with a placeholder for each tensor.
    """

    function: TorchFunction
    inplace: bool
    leaves: Sequence[Any]
    structure: TreeSpec
    constants: tuple[Tensor, ...]

    def __call__(self, *activations: Tensor, constants: Sequence[Tensor] | None = None) -> Any:
        """Return the function's value, with other constants if given; the activations are not changed in place."""
        inputs = iter([a.clone() for a in activations] if self.inplace else activations)
        fixed = iter(self.constants if constants is None else constants)
        sources = {_Placeholder.ACTIVATION: inputs, _Placeholder.CONSTANT: fixed}
        leaves = [next(sources[leaf]) if isinstance(leaf, _Placeholder) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.structure)
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class FunctionCall:
    """An intercepted call of a classified torch function with at least one activation among its arguments."""

    type: OperationType
    name: str
    inplace: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    activations: tuple[Tensor, ...]
    function: BoundFunction

    @classmethod
    def of(cls, function: TorchFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FunctionCall | None:
        """Return the call, or None if the function is not classified or no argument is an activation."""
        if function not in OPERATIONS or not torch.is_grad_enabled():
            return None
        operation_type, name, inplace = OPERATIONS[function]
        leaves, structure = tree_flatten((args, dict(kwargs)))
        places = [_placeholder(leaf) for leaf in leaves]
        activations = _tensors_at(_Placeholder.ACTIVATION, leaves, places)
        if not activations:
            return None
        position = _INPLACE_POSITIONS[function]
        if position is not None:
            inplace |= bool(args[position] if len(args) > position else kwargs.get("inplace", False))
        constants = _tensors_at(_Placeholder.CONSTANT, leaves, places)
        bound = BoundFunction(function, inplace, places, structure, constants)
        return cls(operation_type, name, inplace, args, kwargs, activations, bound)

    def evaluate(self) -> Any:
        """Return the function's value, with its ordinary derivative."""
        return self.function(*self.activations)

    def argument(self, position: int, name: str) -> Any:
        """Return an argument by its position or name, None if it was not given."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name)


def _placeholder(leaf: Any) -> Any:
    """Return the placeholder of a tensor, any other argument unchanged.

    Parameters are frozen, so a tensor that requires a gradient depends on the network's input.
    """
    if not isinstance(leaf, Tensor):
        return leaf
    return _Placeholder.ACTIVATION if leaf.requires_grad else _Placeholder.CONSTANT


def _tensors_at(place: _Placeholder, leaves: Sequence[Any], places: Sequence[Any]) -> tuple[Tensor, ...]:
    """Return the arguments that have this placeholder."""
    return tuple(leaf for leaf, own_place in zip(leaves, places, strict=True) if own_place is place)

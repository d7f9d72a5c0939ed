"""The plain data in an unpickled file: texts, numbers, lists, mappings and tensors."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from torchserve_saliency.model.inert_objects import Inert, Storage

PICKLED_MODULE = "a whole pickled nn.Module"  # in the clean data, the only key of a mapping that stands for a module
_PLAIN = (bool, float, str, type(None))
_MOST_BITS = 2000  # of an integer: torch reads no larger one
_TENSORS = frozenset(f"torch._utils.{name}" for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"))
# functions whose first argument is the tensor that they wrap
_WRAPPING = frozenset(
    {
        *("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"),
        *("torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"),
    }
)
_DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"


@dataclass(frozen=True)
class CleanTensor:
    """A tensor as `torch.save` describes it: a view of a storage; `dtype` is given if the storage has none."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype | None

    def reduced(self) -> tuple[Any, ...]:
        """Return torch's function that builds the tensor, and its arguments."""
        view: tuple[Any, ...] = (self.storage, self.offset, self.size, self.stride, False, OrderedDict())
        if self.dtype is None:
            return torch._utils._rebuild_tensor_v2, view
        return torch._utils._rebuild_tensor_v3, (*view, self.dtype)


def cleaned(value: object) -> tuple[object, list[Storage]]:
    """Return the plain data in an object with stand-ins, and the storages that its tensors need."""
    cleaner = _Cleaner()
    return cleaner.clean(value), list(cleaner.storages)


@dataclass
class _Cleaner:
    """Cleans an object with shared parts and cycles; all that is not plain becomes None."""

    done: dict[int, object] = field(default_factory=dict)
    storages: dict[Storage, None] = field(default_factory=dict)
    seen: list[object] = field(default_factory=list)  # keeps the objects alive, so that no id is used twice

    def clean(self, value: object) -> object:
        if isinstance(value, _PLAIN) or (isinstance(value, int) and value.bit_length() < _MOST_BITS):
            return value
        if id(value) not in self.done:
            self.seen.append(value)
            self.done[id(value)] = None  # the value of a cycle
            self.done[id(value)] = self._clean(value)
        return self.done[id(value)]

    def _clean(self, value: object) -> object:
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return [self.clean(item) for item in value]
        return self._object(value) if isinstance(value, Inert) else None

    def _mapping(self, mapping: Mapping[Any, object]) -> dict[object, object]:
        clean: dict[object, object] = OrderedDict() if isinstance(mapping, OrderedDict) else {}
        for key, value in list(dict.items(cast("dict[Any, object]", mapping))):
            if isinstance(key, str | bytes):
                clean[key.decode("utf-8", "replace") if isinstance(key, bytes) else key] = self.clean(value)
        if isinstance(mapping, OrderedDict) and (versions := vars(mapping).get("_metadata")):
            clean._metadata = self.clean(versions)  # type: ignore[attr-defined]
        return clean

    def _object(self, value: Inert) -> object:
        """Return the tensor, the items, or the attributes of an object."""
        if value.path in _TENSORS | _WRAPPING | {_SUBCLASS}:
            return self._tensor(value)
        if value.items:
            return [self.clean(item) for item in value.items]
        parts = value.state if isinstance(value.state, tuple) else (value.state,)
        attributes = dict(itertools.chain(*(part.items() for part in parts if isinstance(part, dict))))
        if "_parameters" in attributes and "_modules" in attributes:
            return {PICKLED_MODULE: value.path}
        return self._mapping(value.entries or attributes) or None

    def _tensor(self, value: Inert) -> CleanTensor | None:
        if value.path == _SUBCLASS:  # (function, type, arguments, state)
            function = getattr(value.args[0], "path", "") if len(value.args) > 2 else ""
            return self._view(function, value.args[2]) if function in _TENSORS else None
        if value.path in _WRAPPING:
            inner = value.args[0] if value.args else None
            return self._tensor(inner) if isinstance(inner, Inert) else None
        return self._view(value.path, value.args)

    def _view(self, function: str, args: tuple[Any, ...]) -> CleanTensor | None:
        if len(args) < 4 or not isinstance(args[0], Storage) or not isinstance(args[1], int):
            return None
        size, stride = (_integers(arg) for arg in args[2:4])
        typed = function.endswith("_v3")  # its seventh argument is the dtype
        dtype = _DTYPES.get(getattr(args[6], "path", "")) if typed and len(args) > 6 else None
        if size is None or stride is None or (typed and dtype is None):
            return None
        self.storages[args[0]] = None
        return CleanTensor(args[0], args[1], size, stride, dtype)


def _integers(value: object) -> tuple[int, ...] | None:
    """Return a tuple of integers, also that in a torch.Size, or None for anything else."""
    if isinstance(value, Inert) and value.path == "torch.Size" and value.args:
        value = value.args[0]
    if isinstance(value, tuple | list) and all(type(each) is int for each in value):
        return tuple(value)
    return None

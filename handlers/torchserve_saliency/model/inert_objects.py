"""Stand-ins for the objects in a pickle. No class or function that a file names is imported or called.

A stand-in records its arguments, its state and its items, and nothing else happens. Functions that act on the machine
are refused, since no training code writes a call of one beside its weights.
"""

from __future__ import annotations

# only an exception of pickle is used
import pickle  # nosec B403
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

_ACTING_MODULES = frozenset(
    {
        *("os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "pty", "runpy", "importlib", "ctypes", "code"),
        *("commands", "webbrowser", "urllib", "http", "ftplib", "signal", "pdb", "timeit", "pip", "bdb", "asyncio"),
    }
)
_ACTING_BUILTINS = frozenset({"eval", "exec", "compile", "open", "input", "__import__", "breakpoint", "execfile"})
_BUILTINS = ("builtins", "__builtin__")


class UnsafeCallError(pickle.UnpicklingError):
    """A file would call a function that acts on the machine. It was not called."""


class Inert:
    """An object of a class that is not imported: the arguments that it was made from, its state and its items."""

    path = ""  # the module and the name of the class
    acting = False

    args: tuple[Any, ...]
    state: object
    entries: dict[object, object]
    items: list[object]

    def __new__(cls, *args: object, **keywords: object) -> Inert:
        if cls.acting:
            raise UnsafeCallError(f"it would call {cls.path}")
        made = object.__new__(cls)
        made.args, made.state, made.entries, made.items = args, None, {}, []
        return made

    def __init__(self, *args: object, **keywords: object) -> None:
        """Do nothing: `__new__` has recorded the arguments."""

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def append(self, item: object) -> None:
        self.items.append(item)

    def extend(self, items: list[object]) -> None:
        self.items.extend(items)

    def add(self, item: object) -> None:
        self.items.append(item)

    def __call__(self, *args: object, **keywords: object) -> object:
        raise UnsafeCallError(f"it would call the result of {self.path}")


@lru_cache(maxsize=4096)
def inert_class(module: str, name: str) -> type[Inert]:
    """Return the stand-in for the class or function of this name."""
    acting = module.split(".")[0] in _ACTING_MODULES or (module in _BUILTINS and name in _ACTING_BUILTINS)
    return type("Inert", (Inert,), {"path": f"{module}.{name}", "acting": acting})


@dataclass(frozen=True)
class Storage:
    """A reference to the numbers of a tensor, which are elsewhere in the file."""

    kind: type
    key: str
    rest: tuple[Any, ...]  # device, number of elements, and in old files a view

    @classmethod
    def read(cls, pid: object) -> Storage:
        """Return the reference in a persistent id of `torch.save`; raise UnpicklingError for any other id."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError("it refers to something outside the file")
        kinds = {f"{kind.__module__}.{kind.__name__}": kind for kind in torch._storage_classes}
        kind = kinds.get(getattr(pid[1], "path", ""))
        if kind is None:
            raise pickle.UnpicklingError("it has tensors of an unknown type")
        return cls(kind, str(pid[2]), tuple(pid[3:]))

    def pid(self) -> tuple[Any, ...]:
        """Return the persistent id of `torch.save`."""
        return ("storage", self.kind, self.key, *self.rest)

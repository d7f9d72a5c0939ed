"""The values of an exported graph, as they are written in Python source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import sympy
import torch
from torch import Tensor, fx
from torch.utils._sympy.printers import PythonPrinter

BATCH = "batch"  # the name of the number of pictures, the only size of a graph that varies


@dataclass(frozen=True)
class Expression:
    """The source of a value, and the value itself in the example pass.

    `constant` is true if it depends neither on the input nor on a parameter.
    """

    source: str
    value: object
    constant: bool = False


Written = Expression | list[Expression | None]  # a list for the outputs of a module, None for a size among them


class UnwritableError(Exception):
    """A value or an operation of a graph cannot be written as source; the message names it."""


def size_expression(value: object) -> str | None:
    """Return the source of a symbolic size as a function of the batch size, or None if it is no symbolic size."""
    if not isinstance(value, torch.SymInt):
        return None
    expression = cast(sympy.Expr, value.node.expr)
    symbols = sorted(expression.free_symbols, key=str)
    if len(symbols) > 1:
        raise UnwritableError(f"the size {expression} depends on more than the batch")
    batch = sympy.Symbol(BATCH, integer=True, positive=True)
    text: str = PythonPrinter().doprint(expression.subs(dict.fromkeys(symbols, batch)))
    return text


def literal(value: object, written: Mapping[fx.Node, Written], device: str) -> str:
    """Return the source of an argument; `device` is the source of the device of the pass.

    Raise UnwritableError if it is of an unknown type.
    """
    if isinstance(value, fx.Node):
        return expression(written[value]).source
    if isinstance(value, tuple | list):
        inner = [literal(each, written, device) for each in value]
        return f"[{', '.join(inner)}]" if isinstance(value, list) else f"({''.join(f'{each}, ' for each in inner)})"
    if isinstance(value, torch.device):
        return device
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.memory_format | torch.layout):
        return repr(value)
    raise UnwritableError(f"a value of type {type(value).__name__} in the graph")


def expression(written: Written) -> Expression:
    """Return what is written of a single value; raise UnwritableError for the outputs of a module."""
    if isinstance(written, Expression):
        return written
    raise UnwritableError("an operation on all outputs of a module")


def value_of(written: Written) -> object:
    """Return the example's value."""
    return expression(written).value


def same(a: object, b: object) -> bool:
    """Tell whether two values are equal to the last bit, in shape, type and memory layout too."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        alike = a.shape == b.shape and a.dtype is b.dtype and a.stride() == b.stride()
        return alike and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b

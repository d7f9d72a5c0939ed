"""Operations of an exported graph as calls of PyTorch's public functions.

An exported graph calls `torch.ops.aten`, which methods with their own backward rules do not intercept. So each call is
written as that of a public function of the same name, if it returns the same value on the example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from torchserve_saliency_cli.exporting.values import UnwritableError, Written, literal, same, value_of

_ASSERTIONS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")
_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "dropout_")
_BACKEND = ("cudnn_enable", "cudnn_enabled")  # arguments that choose a backend, which PyTorch does by itself


@dataclass(frozen=True)
class Call:
    """A call of an operation: the node's target, and its arguments as they stand in the graph."""

    operation: torch._ops.OpOverload[Any, Any]
    args: Sequence[object]
    kwargs: Mapping[str, object]

    @property
    def name(self) -> str:
        """Return the operation's name without its namespace and overload."""
        return self.operation._schema.name.split("::")[1]

    @property
    def is_assertion(self) -> bool:
        """Tell whether the operation returns nothing and only checks its arguments."""
        return self.name in _ASSERTIONS

    @property
    def is_dropout(self) -> bool:
        """Tell whether the operation returns its input in evaluation."""
        return self.name in _DROPOUTS and self.args[2:3] == (False,)


@dataclass(frozen=True)
class _Form:
    """One way to write a call: the callee's source, the callee, and the arguments."""

    source: str
    function: Callable[..., Any]
    args: Sequence[object]
    kwargs: Mapping[str, object]
    method: bool = False


def write_call(call: Call, written: Mapping[fx.Node, Written], device: str) -> str:
    """Return the source of a call, in the first form that returns the same as the operation on the example.

    `device` is the source of the device of the pass. Raise UnwritableError for an argument of an unknown type.
    """
    value = _result(_Form("", call.operation, call.args, call.kwargs), written)
    for form in _forms(call):
        if _returns(form, value, written):
            return _written_form(form, written, device)
    raise UnwritableError(f"the operation {call.operation}")


def run(call: Call, written: Mapping[fx.Node, Written]) -> object:
    """Return the value of a call on the example; an operation that works in place changes the example's values."""
    args, kwargs = tree_map(lambda each: _value(each, written), (tuple(call.args), dict(call.kwargs)))
    return call.operation(*args, **kwargs)


def _returns(form: _Form, value: object, written: Mapping[fx.Node, Written]) -> bool:
    """Tell whether a form returns a value on the example."""
    try:
        return same(_result(form, written), value)
    except Exception:  # the public function has other arguments
        return False


def _result(form: _Form, written: Mapping[fx.Node, Written]) -> object:
    """Return the value of a form on copies of the example's values."""
    arguments = tree_map(lambda each: _value(each, written), (tuple(form.args), dict(form.kwargs)))
    args, kwargs = tree_map(lambda each: _copy(each) if isinstance(each, Tensor) else each, arguments)
    return form.function(*args, **kwargs)


def _forms(call: Call) -> Iterator[_Form]:
    """Yield the forms of a call, the one that is easiest to read and to intercept first."""
    named = _named_arguments(call)
    for module, prefix in ((F, "F"), (torch, "torch")):
        if call.args and callable(function := getattr(module, call.name, None)):
            yield _Form(f"{prefix}.{call.name}", function, call.args[:1], named)
            yield _Form(f"{prefix}.{call.name}", function, call.args, call.kwargs)
    if call.args and isinstance(call.args[0], fx.Node) and callable(method := getattr(Tensor, call.name, None)):
        yield _Form(call.name, method, call.args, call.kwargs, method=True)
    yield _Form(f"torch.ops.{call.operation}", call.operation, call.args, call.kwargs)


def _named_arguments(call: Call) -> dict[str, object]:
    """Return all arguments but the first by their names, without those that choose a backend."""
    names = [argument.name for argument in call.operation._schema.arguments]
    named = dict(zip(names[1:], call.args[1:], strict=False)) | dict(call.kwargs)
    return {name: value for name, value in named.items() if name not in _BACKEND}


def _value(value: object, written: Mapping[fx.Node, Written]) -> object:
    """Return the example's value of an argument."""
    return value_of(written[value]) if isinstance(value, fx.Node) else value


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy of the same memory layout; an expanded tensor, to which nothing is written, is returned itself."""
    if torch._debug_has_internal_overlap(tensor):
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def _written_form(form: _Form, written: Mapping[fx.Node, Written], device: str) -> str:
    first, rest = form.args[0] if form.args else None, form.args[1:]
    words = [literal(each, written, device) for each in (rest if form.method else form.args)]
    words += [f"{name}={literal(value, written, device)}" for name, value in form.kwargs.items()]
    callee = f"{literal(first, written, device)}.{form.source}" if form.method else form.source
    return f"{callee}({', '.join(words)})"

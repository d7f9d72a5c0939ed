"""Reading the graphs of an unflattened `torch.export` program: each of them is a part of the network."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, fx, nn

from torchserve_saliency_cli.exporting.operations import Call, run, write_call
from torchserve_saliency_cli.exporting.parts import Part, torch_layer
from torchserve_saliency_cli.exporting.values import (
    BATCH,
    Expression,
    UnwritableError,
    Written,
    expression,
    size_expression,
)

_CALL_NUMBER = re.compile(r"@\d+")  # the second call of a module is `name@1`
_NUMBER = re.compile(r"(?<=\w)_\d+$")
_TAKEN = frozenset({"self", "torch", "nn", "F", "float", BATCH})


def read_part(module: nn.Module, original: nn.Module | None, inputs: Sequence[Tensor]) -> tuple[Part, Written]:
    """Return the part of an unflattened module, and its outputs on the example's `inputs`.

    `original` is the module that was exported, or None if there is none of this name. Raise UnwritableError if an
    operation cannot be written as source.
    """
    return _Reader(module, original, iter(inputs)).read()


@dataclass
class _Reader:
    """Reads one graph, and computes its values on the example at the same time."""

    module: nn.Module
    original: nn.Module | None
    inputs: Iterator[Tensor]
    written: dict[fx.Node, Written] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    arguments: list[str] = field(default_factory=list)
    part: Part = field(init=False)

    def __post_init__(self) -> None:
        self.part = Part(type(self.module if self.original is None else self.original).__name__)

    def read(self) -> tuple[Part, Written]:
        """Return the part and its outputs."""
        outputs: Written = []
        for node in cast(fx.Graph, self.module.graph).nodes:
            size = size_expression(node.meta.get("val"))
            if size is not None:
                self.written[node] = Expression(size, node.meta["val"].node.hint)
            elif node.op == "placeholder":
                self.arguments.append(name := self._free_name("x"))
                self.written[node] = Expression(name, next(self.inputs))
            elif node.op == "get_attr":
                self.written[node] = self._attribute(str(node.target))
            elif node.op == "call_module":
                self.written[node] = self._child(node)
            elif node.op == "output":
                outputs = self._outputs(node.args[0])
            else:
                self._function(node)
        self.part.forward = self._method()
        return self.part, outputs

    def _outputs(self, returned: object) -> Written:
        """Write the last line and return the outputs; sizes are written again by the caller."""
        if isinstance(returned, fx.Node):
            single = self._stored(returned)
            self.lines.append(f"return {single.source}")
            return single
        entries = [self._stored(node) for node in cast(Sequence[fx.Node], returned)]
        tensors = [entry if isinstance(entry.value, Tensor) else None for entry in entries]
        sources = [entry.source for entry in tensors if entry]
        self.part.returned = tuple(entry is not None for entry in tensors)
        self.lines.append(f"return {sources[0] if len(sources) == 1 else ', '.join(sources)}")
        return list(tensors)

    def _method(self) -> str:
        self.part.takes_batch |= any(re.search(rf"\b{BATCH}\b", line) for line in self.lines)
        words = ["self", *self.arguments, *([BATCH] if self.part.takes_batch else [])]
        return "\n    ".join([f"def forward({', '.join(words)}):", *self.lines])

    def _attribute(self, path: str) -> Expression:
        """Return a tensor of the network; one that is no parameter is a constant."""
        owner, _, name = path.rpartition(".")
        value = getattr(self.module.get_submodule(owner), name)
        plain = path.replace(".", "_")
        if not isinstance(value, nn.Parameter):
            return Expression(plain, value, constant=True)
        self.part.parameters[plain] = value
        return Expression(f"self.{plain}", value)

    def _stored(self, node: fx.Node) -> Expression:
        """Return a value for use in the method; a constant becomes a buffer of the part."""
        found = expression(self.written[node])
        if not found.constant:
            return found
        if not isinstance(found.value, Tensor):
            raise UnwritableError(f"a constant of type {type(found.value).__name__}")
        value = found.value.detach().clone(memory_format=torch.preserve_format)
        self.part.buffers[found.source] = value
        self.written[node] = stored = Expression(f"self.{found.source}", value)
        return stored

    def _child(self, node: fx.Node) -> Written:
        """Write the call of a child, and return its outputs."""
        path = str(node.target)
        plain = _CALL_NUMBER.sub("", path)
        child, original = self.module.get_submodule(path), _submodule(self.original, plain)
        stored = [self._stored(each) for each in cast(Sequence[fx.Node], node.args)]
        tensors = [each for each in stored if isinstance(each.value, Tensor)]
        values = [cast(Tensor, each.value) for each in tensors]
        part, outputs = _read_child(child, original, values)
        name = plain if part.constructor else path.replace("@", "_call_")
        part = self._placed(name, part)
        words = [*(each.source for each in tensors), *([BATCH] if part.takes_batch else [])]
        variable = self._free_name(node.name)
        self.lines.append(f"{variable} = {_callee(name)}({', '.join(words)})")
        if isinstance(outputs, Expression):
            return Expression(variable, outputs.value)
        position = iter(range(len(outputs)))
        count = sum(part.returned)
        return [
            entry and Expression(variable if count == 1 else f"{variable}[{next(position)}]", entry.value)
            for entry in outputs
        ]

    def _placed(self, path: str, part: Part) -> Part:
        """Put a part at its place below this one, and return it, or the one that is there from an earlier call."""
        *between, last = path.split(".")
        owner = self.part
        for name in between:
            owner = owner.children.setdefault(name, Part("Part"))
        return owner.children.setdefault(last, part)

    def _function(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            self.written[node] = self._item(*cast(tuple[fx.Node, int], node.args))
        elif isinstance(node.target, torch._ops.OpOverload):
            self._operation(node, Call(node.target, node.args, node.kwargs))
        else:
            raise UnwritableError(f"the operation {node.target}")

    def _item(self, owner: fx.Node, index: int) -> Written:
        """Return an entry of the outputs of a module or an operation."""
        found = self.written[owner]
        if isinstance(found, list):
            if (entry := found[index]) is None:
                raise UnwritableError("a size that a module returns")
            return entry
        value = cast(Sequence[object], found.value)[index]
        return Expression(f"{found.source}[{index}]", value, found.constant)

    def _operation(self, node: fx.Node, call: Call) -> None:
        if call.is_assertion:
            return
        if call.is_dropout:
            self.written[node] = self.written[cast(fx.Node, call.args[0])]
            return
        variable = self._free_name(node.name)
        if all(expression(self.written[each]).constant for each in node.all_input_nodes):
            self.written[node] = Expression(f"constant_{variable}", run(call, self.written), constant=True)
            return
        for each in node.all_input_nodes:
            self._stored(each)
        self.lines.append(f"{variable} = {write_call(call, self.written, self._device())}")
        self.written[node] = Expression(variable, run(call, self.written))

    def _device(self) -> str:
        """Return the source of the device on which the part computes."""
        holder = next(iter([*self.arguments, *(f"self.{name}" for name in self.part.parameters)]), None)
        return "None" if holder is None else f"{holder}.device"

    def _free_name(self, name: str) -> str:
        """Return a name that is free in the method, without the number that the export gave it."""
        base = free = _NUMBER.sub("", re.sub(r"\W", "_", name))
        number = 1
        while free in self.names or free in _TAKEN or keyword.iskeyword(free):
            number += 1
            free = f"{base}_{number}"
        self.names.add(free)
        return free


def _read_child(child: nn.Module, original: nn.Module | None, inputs: Sequence[Tensor]) -> tuple[Part, Written]:
    """Return a child's part, as a layer of torch.nn if it is one, and its outputs."""
    if len(inputs) == 1 and sum(node.op == "placeholder" for node in cast(fx.Graph, child.graph).nodes) == 1:
        output = child(inputs[0].clone())
        if layer := torch_layer(original, inputs[0], output):
            return layer, Expression("", output)
    return read_part(child, original, inputs)


def _submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    """Return a submodule, or None if there is none of this name."""
    try:
        return None if module is None else module.get_submodule(path)
    except AttributeError:
        return None


def _callee(path: str) -> str:
    """Return the source of a submodule."""
    names = path.split(".")
    plain = all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    return f"self.{path}" if plain else f'self.get_submodule("{path}")'

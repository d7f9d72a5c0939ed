"""Python source of an exported network: a class for each of its parts, and a function that puts them together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template

from torch import Tensor

from torchserve_saliency_cli.exporting.parts import Part
from torchserve_saliency_cli.exporting.values import BATCH

FUNCTION = "network"  # the name of the function that returns the network
_FILE = Template('''\
"""$description"""

import torch
import torch.nn.functional as F
from torch import nn


class Part(nn.Module):
    """A part of the network. Its tensors are zeros until the weights are loaded."""

    def __init__(self, parameters=None, buffers=None, children=None):
        super().__init__()
        for name, shape in (parameters or {}).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        for name, (shape, dtype) in (buffers or {}).items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))
        for name, child in (children or {}).items():
            self.add_module(name, child)


$classes


def $function():
    """Return the network."""
    return $network
''')


@dataclass
class _Classes:
    """The classes of the parts; parts with the same method share one."""

    sources: dict[str, str] = field(default_factory=dict)

    def name_of(self, part: Part) -> str:
        """Return the name of a part's class, which is added if there is none with its method."""
        if part.forward is None:
            return "Part"
        number, name = 1, part.name if part.name.isidentifier() and part.name != "Part" else "Module"
        base = name
        while self.sources.setdefault(name, part.forward) != part.forward:
            number += 1
            name = f"{base}{number}"
        return name

    def source(self) -> str:
        """Return the definitions of all classes."""
        methods = {name: text.replace("\n", "\n    ") for name, text in self.sources.items()}
        return "\n\n\n".join(f"class {name}(Part):\n    {method}" for name, method in methods.items())


def source_code(root: Part, description: str) -> str:
    """Return a Python file whose function `network` returns the network, without its weights."""
    classes = _Classes()
    root.forward = _counting(root)
    network = _construction(root, classes, "    ")
    return _FILE.substitute(description=description, classes=classes.source(), function=FUNCTION, network=network)


def _counting(root: Part) -> str | None:
    """Return the root's method; it takes the number of pictures from its input."""
    if root.forward is None or not root.takes_batch:
        return root.forward
    head = re.match(rf"def forward\(self, (\w+), {BATCH}\):", root.forward)
    assert head is not None
    rest = root.forward[head.end() :]
    return f"def forward(self, {head[1]}):\n    {BATCH} = {head[1]}.shape[0]{rest}"


def _construction(part: Part, classes: _Classes, indent: str) -> str:
    """Return the expression that builds a part."""
    if part.constructor:
        return part.constructor
    inner = indent + "    "
    words = []
    if part.parameters:
        words.append(f"parameters={_shapes(part.parameters)}")
    if part.buffers:
        words.append(f"buffers={_typed_shapes(part.buffers)}")
    if part.children:
        built = [f"{name!r}: {_construction(child, classes, inner + '    ')}" for name, child in part.children.items()]
        lines = "".join(f"\n{inner}    {each}," for each in built)
        words.append(f"children={{{lines}\n{inner}}}")
    separator = f",\n{inner}"
    return (
        f"{classes.name_of(part)}(\n{inner}{separator.join(words)},\n{indent})"
        if words
        else f"{classes.name_of(part)}()"
    )


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return "{" + ", ".join(f"{name!r}: {tuple(tensor.shape)}" for name, tensor in tensors.items()) + "}"


def _typed_shapes(tensors: Mapping[str, Tensor]) -> str:
    return "{" + ", ".join(f"{name!r}: ({tuple(t.shape)}, {t.dtype})" for name, t in tensors.items()) + "}"

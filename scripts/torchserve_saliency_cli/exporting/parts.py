"""The parts of an exported network, each of which becomes a class, or a layer of `torch.nn`, in the source."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Part:
    """A module of the network.

    `constructor` is the source of a layer of torch.nn. Other parts have `forward`, the source of their method, or only
    hold `children`. `parameters` and `buffers` are the part's own. `returned` tells for each output whether it is a
    tensor, which the method returns, or a size, which it does not. If `takes_batch` is true, the last argument is the
    number of pictures.
    """

    name: str
    constructor: str | None = None
    forward: str | None = None
    parameters: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    children: dict[str, Part] = field(default_factory=dict)
    returned: tuple[bool, ...] = (True,)
    takes_batch: bool = False

    def state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Yield all parameters and buffers with their full names."""
        for name, tensor in {**self.parameters, **self.buffers}.items():
            yield prefix + name, tensor
        for name, child in self.children.items():
            yield from child.state(f"{prefix}{name}.")


def torch_layer(module: nn.Module | None, input: Tensor, output: object) -> Part | None:
    """Return the part of a layer of torch.nn that turns the `input` of the example into its `output`.

    Return None if the module is no such layer, or if its description does not build one that does the same.
    """
    kind = type(module)
    if module is None or kind is not getattr(nn, kind.__name__, None) or next(module.children(), None) is not None:
        return None
    constructor = f"nn.{module!r}"
    with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]):
        built = _built(constructor)
        built.to(next((tensor.dtype for tensor in module.parameters()), torch.float32))
        built.load_state_dict(module.state_dict())
        result = built.eval()(input.clone())
        if isinstance(output, Tensor) and torch.equal(result, output):
            return Part(
                *(kind.__name__, constructor),
                parameters=dict(module.named_parameters()),
                buffers=dict(module.named_buffers()),
            )
    return None


def _built(constructor: str) -> nn.Module:
    """Return the layer that a call `nn.Name(…)` with literal arguments builds; raise ValueError for other source."""
    call = ast.parse(constructor, mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        raise ValueError(constructor)
    args = [ast.literal_eval(each) for each in call.args]
    kwargs = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    layer: nn.Module = getattr(nn, call.func.attr)(*args, **kwargs)
    return layer

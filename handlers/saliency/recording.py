"""What every module of a network puts out in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.autograd.graph import Node


@dataclass
class Outputs:
    """What modules put out in one pass, in the order in which they finish, and who handed on what it was given."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    handed_on: set[str] = field(default_factory=set)

    def add(self, name: str, tensor: Tensor, given: Sequence[Node]) -> None:
        """Add an output of a module that was given the results of the operations `given`."""
        self.tensors.pop(name, None)
        self.tensors[name] = tensor
        if tensor.grad_fn in given:
            self.handed_on.add(name)


@contextmanager
def recorded(network: nn.Module) -> Iterator[Outputs]:
    """Collect every module's output during a forward pass."""
    outputs = Outputs()
    given: dict[str, list[Node]] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object) -> None:
            given[name] = [tensor.grad_fn for tensor in _tensors(args) if tensor.grad_fn is not None]

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                outputs.add(name, tensor, given.get(name, ()))

        return hook

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if name:
                hooks.callback(module.register_forward_pre_hook(before(name)).remove)
                hooks.callback(module.register_forward_hook(after(name)).remove)
        yield outputs


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors among what a module is given, alone or in lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)


def first_tensor(output: object) -> Tensor | None:
    """Return the tensor that a module put out, the first one of a tuple or list."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None

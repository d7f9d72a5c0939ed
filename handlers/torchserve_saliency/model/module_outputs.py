"""The outputs of all modules of a network in one forward pass, in the order in which the modules finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.autograd.graph import Node


@dataclass
class ModuleOutputs:
    """Tensors by module name, and the names of modules that return one of their inputs unchanged."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)

    def add(self, name: str, tensor: Tensor, input_nodes: Sequence[Node]) -> None:
        """Add a module's output; `input_nodes` are the graph nodes of its inputs."""
        self.tensors.pop(name, None)
        self.tensors[name] = tensor
        if tensor.grad_fn in input_nodes:
            self.unchanged.add(name)


@contextmanager
def record_outputs(network: nn.Module) -> Iterator[ModuleOutputs]:
    """Yield the outputs of every module, which a forward pass inside the context fills in."""
    outputs = ModuleOutputs()
    input_nodes: dict[str, list[Node]] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object) -> None:
            input_nodes[name] = [tensor.grad_fn for tensor in _tensors(args) if tensor.grad_fn is not None]

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                outputs.add(name, tensor, input_nodes.get(name, ()))

        return hook

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if name:
                hooks.callback(module.register_forward_pre_hook(before(name)).remove)
                hooks.callback(module.register_forward_hook(after(name)).remove)
        yield outputs


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in a module's arguments, including those in lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def first_tensor(output: object) -> Tensor | None:
    """Return the tensor that a module returned, or the first item of its tuple or list, or None for other types."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None

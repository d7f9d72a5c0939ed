"""A private copy of a network that a program already uses, so that the original is left as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree

from torchserve_saliency.errors import ModelError, error_summary

_FORWARD_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)
_BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")


def private_copy(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of a network in eval mode, without the hooks that only observe it.

    Its parameters and buffers are copied, not shared. A wrapper of `torch.compile`, DataParallel or
    DistributedDataParallel is removed. Backward hooks are removed, because they could change the gradient. Forward
    hooks are removed if the output for `example` [1, C, H, W] is the same without them; for this, they are called once.
    Raise ModelError if the network cannot be copied.
    """
    network = _unwrapped(network)
    try:
        made = copy.deepcopy(network, dict(_computed_tensors(network)))
    except Exception as error:
        raise ModelError(
            f"the network cannot be copied: {error_summary(error)}; give a new one with the same weights "
            "(load_state_dict)"
        ) from error
    made.eval()
    for module in _hookable(made):
        for name in _BACKWARD_HOOKS:
            getattr(module, name).clear()
    _remove_observers(made, example)
    return made


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside of wrappers."""
    while True:
        inner = getattr(network, "_orig_mod", None)  # of torch.compile
        if inner is None and isinstance(network, nn.DataParallel | DistributedDataParallel):
            inner = network.module
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def _computed_tensors(network: nn.Module) -> Iterator[tuple[int, Tensor]]:
    """Yield the id and a detached copy of each tensor that is an attribute and has a graph.

    `deepcopy` refuses such tensors. Modules keep them if they remember an activation, or compute their weight.
    """
    for module in network.modules():
        for value in [*vars(module).values(), *module._buffers.values()]:
            for tensor in _pytree.tree_leaves(value) if isinstance(value, list | tuple | dict | Tensor) else ():
                if isinstance(tensor, Tensor) and not tensor.is_leaf:
                    yield id(tensor), tensor.detach().clone()


def _hookable(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules whose hooks can be changed: all except those of TorchScript."""
    return (module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule))


def _remove_observers(network: nn.Module, example: Tensor) -> None:
    """Remove the forward hooks, unless they change the output."""
    modules = [module for module in _hookable(network) if any(getattr(module, name, None) for name in _FORWARD_HOOKS)]
    if not modules:
        return
    with_hooks = _outputs(network, example)
    kept = [{name: dict(getattr(module, name)) for name in _FORWARD_HOOKS} for module in modules]
    for module in modules:
        for name in _FORWARD_HOOKS:
            getattr(module, name).clear()
    if with_hooks is None or not _equal(with_hooks, _outputs(network, example)) or _compute_weights(kept):
        for module, hooks in zip(modules, kept, strict=True):
            for name, entries in hooks.items():
                getattr(module, name).update(entries)


def _compute_weights(kept: list[dict[str, dict[int, object]]]) -> bool:
    """Tell if a hook is one of `torch.nn.utils`, such as that of `weight_norm`, which computes a weight."""
    hooks = [hook for module in kept for entries in module.values() for hook in entries.values()]
    return any(type(hook).__module__.startswith("torch.nn.utils") for hook in hooks)


def _outputs(network: nn.Module, example: Tensor) -> list[object] | None:
    """Return the tensors in the output of the network, or None if it fails."""
    try:
        with torch.no_grad():
            output = network(example.clone())
    except Exception:
        return None  # the reason is found, and named, when the network is tried without its hooks
    leaves: list[object] = _pytree.tree_leaves(dict(output) if isinstance(output, Mapping) else output)
    return leaves


def _equal(one: list[object], other: list[object] | None) -> bool:
    """Tell if two outputs have the same tensors."""
    if other is None or len(one) != len(other):
        return False
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if isinstance(a, Tensor) and isinstance(b, Tensor)]
    return all(torch.equal(a, b) for a, b in pairs)

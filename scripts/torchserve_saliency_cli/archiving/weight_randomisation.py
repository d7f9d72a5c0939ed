"""Cascading randomisation of a network's weights, from the output to the input (Adebayo et al. 2018)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from torchserve_saliency.model.classifier import Classifier


def top_down(classifier: Classifier, x: Tensor, most: int) -> list[tuple[str, ...]]:
    """Return the names of the network's parameters in at most `most` stages, the stage nearest to the output first.

    Modules with parameters are sorted by their first call on the input `x` [1, C, H, W]. A module that is never called
    has the position of its parent. TorchScript has no hooks, so its modules are sorted by their registration.
    """
    names: dict[str, list[str]] = {}
    for name, _ in classifier.network.named_parameters():
        names.setdefault(name.rpartition(".")[0], []).append(name)
    positions = _call_order(classifier, x)
    modules = sorted(names, key=lambda module: _position(module, positions))[::-1]
    return [tuple(name for module in part for name in names[module]) for part in _parts(modules, most)]


def _call_order(classifier: Classifier, x: Tensor) -> dict[str, int]:
    """Return the position of each module in the order of first calls."""
    if not classifier.hookable:
        return {name: position for position, (name, _) in enumerate(classifier.network.named_modules())}
    positions: dict[str, int] = {}
    with torch.no_grad(), _recording_calls(classifier.network, positions):
        classifier.forward(x)
    return positions


@contextmanager
def _recording_calls(network: nn.Module, positions: dict[str, int]) -> Iterator[None]:
    """Add each module to `positions` when it is first called."""

    def record(name: str) -> None:
        positions.setdefault(name, len(positions))

    hooks = [m.register_forward_pre_hook(lambda *_, name=n: record(name)) for n, m in network.named_modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _position(module: str, positions: dict[str, int]) -> int:
    """Return a module's position, or that of its nearest parent that was called."""
    while module and module not in positions:
        module = module.rpartition(".")[0]
    return positions.get(module, 0)


def _parts(modules: Sequence[str], most: int) -> list[Sequence[str]]:
    """Split the modules into at most `most` parts of nearly equal size."""
    count = min(most, len(modules))
    ends = [len(modules) * i // count for i in range(count + 1)] if count else [0]
    return [modules[start:end] for start, end in itertools.pairwise(ends)]


def randomise(network: nn.Module, names: Sequence[str], generator: torch.Generator) -> bool:
    """Randomise the named parameters in place; return True if any value changed.

    Weights are drawn from a normal distribution of mean 0 and of their own root mean square. This keeps the scale of
    the activations, even if batch norms were folded into the weights. Vectors (biases, the scales of norms) are
    shuffled, because their mean need not be 0.
    """
    changed = False
    parameters = dict(network.named_parameters())
    for name in names:
        parameter = parameters[name].detach()
        drawn = _shuffled(parameter, generator) if parameter.dim() < 2 else _normal(parameter, generator)
        changed = changed or not torch.equal(drawn, parameter)
        parameter.copy_(drawn)
    return changed


def _shuffled(vector: Tensor, generator: torch.Generator) -> Tensor:
    """Return a vector's values in random order."""
    flat = vector.reshape(-1)
    return flat[torch.randperm(len(flat), generator=generator).to(vector.device)].view(vector.shape)


def _normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return normally distributed values of mean 0 and of a weight's root mean square."""
    scale = float(weight.double().square().mean().sqrt())
    return scale * torch.randn(weight.shape, generator=generator).to(weight)

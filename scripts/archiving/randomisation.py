"""A network's weights made random from the output down, a stage at a time (Adebayo et al. 2018, cascading)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saliency.model import Classifier


def top_down(classifier: Classifier, x: Tensor, most: int) -> list[tuple[str, ...]]:
    """Return the names of the network's parameters in at most `most` stages, the one nearest to the output first.

    The modules that hold parameters are taken in the order in which they first run on `x` [1, C, H, W]; one that is
    never called goes with the module it lies in. TorchScript has no hooks: there it is the order of registration.
    """
    owned: dict[str, list[str]] = {}
    for name, _ in classifier.network.named_parameters():
        owned.setdefault(name.rpartition(".")[0], []).append(name)
    place = _order(classifier, x)
    modules = sorted(owned, key=lambda module: _place(module, place))[::-1]
    return [tuple(name for module in part for name in owned[module]) for part in _parts(modules, most)]


def _order(classifier: Classifier, x: Tensor) -> dict[str, int]:
    """Return each module's place among those that a forward pass calls."""
    if not classifier.hookable:
        return {name: place for place, (name, _) in enumerate(classifier.network.named_modules())}
    called: dict[str, int] = {}
    with torch.no_grad(), _noting_calls(classifier.network, called):
        classifier.forward(x)
    return called


@contextmanager
def _noting_calls(network: nn.Module, called: dict[str, int]) -> Iterator[None]:
    """Write the names of modules into `called` as they are first called."""

    def note(name: str) -> None:
        called.setdefault(name, len(called))

    hooks = [m.register_forward_pre_hook(lambda *_, name=n: note(name)) for n, m in network.named_modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _place(module: str, called: dict[str, int]) -> int:
    """Return a module's place, or that of the nearest module around it."""
    while module and module not in called:
        module = module.rpartition(".")[0]
    return called.get(module, 0)


def _parts(modules: Sequence[str], most: int) -> list[Sequence[str]]:
    """Return the modules cut into at most `most` parts, as even as can be."""
    count = min(most, len(modules))
    ends = [len(modules) * i // count for i in range(count + 1)] if count else [0]
    return [modules[start:end] for start, end in itertools.pairwise(ends)]


def randomise(network: nn.Module, names: Sequence[str], generator: torch.Generator) -> bool:
    """Make each of the named parameters random in place; return whether any value moved.

    Weights become normal of mean zero, as an initialisation draws them, at their own root mean square: that keeps the
    scale of the activations, also where batch norms were folded into them. Vectors (biases, the scales of norms) are
    shuffled, as they need not lie around zero.
    """
    moved = False
    parameters = dict(network.named_parameters())
    for name in names:
        parameter = parameters[name].detach()
        drawn = _shuffled(parameter, generator) if parameter.dim() < 2 else _normal(parameter, generator)
        moved = moved or not torch.equal(drawn, parameter)
        parameter.copy_(drawn)
    return moved


def _shuffled(vector: Tensor, generator: torch.Generator) -> Tensor:
    """Return a vector's values in another order."""
    flat = vector.reshape(-1)
    return flat[torch.randperm(len(flat), generator=generator).to(vector.device)].view(vector.shape)


def _normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return normal values of mean zero and a weight's root mean square."""
    scale = float(weight.double().square().mean().sqrt())
    return scale * torch.randn(weight.shape, generator=generator).to(weight)

"""The changes that a network needs for its weights: another number of input channels, or another head."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from torchserve_saliency.model.changes import Change
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.head_layers import COUNTER, head_layers

RGB = 3


def input_channels(network: nn.Module, state: State) -> int | None:
    """Return the weights' number of input channels if it is not the network's, RGB, else None."""
    path, convolution = first_convolution(network)
    weight = state.get(f"{path}.weight")
    if convolution is None or weight is None or weight.dim() != 4:
        return None
    ours = convolution.weight.shape
    alike = weight.shape[:1] == ours[:1] and weight.shape[2:] == ours[2:]
    channels, rest = divmod(RGB * weight.shape[1], ours[1])  # a stem may have turned each channel into several
    return channels if alike and not rest and channels != RGB else None


def has_added_bias(network: nn.Module, state: State) -> bool:
    """Tell whether the weights have a bias for the first convolution, and the network has none."""
    path, convolution = first_convolution(network)
    return convolution is not None and convolution.bias is None and f"{path}.bias" in state


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d | None]:
    """Return the path and the first convolution of a network in the order of its modules."""
    return next(((path, m) for path, m in network.named_modules() if isinstance(m, nn.Conv2d)), ("", None))


def head_change(network: nn.Module, state: State, activation: str | None = None) -> dict[str, Change]:
    """Return the change of the module in which names or shapes differ from the weights, a head; empty for none.

    `activation` is the activation between the linear layers of the new head. Raise ModelError if the head cannot be
    told from its weights.
    """
    own = network.state_dict()
    differing = [name for name in own if name not in state and not name.endswith(COUNTER)]
    differing += [name for name in state if name not in own and not name.endswith(COUNTER)]
    differing += [name for name in own if name in state and own[name].shape != state[name].shape]
    path = _common_module(network, differing)
    if not differing or path is None:
        return {}
    old = network.get_submodule(path)
    if not _is_head(network, path, old):
        return {}
    return {path: head_layers(path, old, _grouped(path, state), activation)}


def _common_module(network: nn.Module, names: Sequence[str]) -> str | None:
    """Return the path of the smallest module that has all names, or None if only the whole network does."""
    columns = zip(*(name.split(".") for name in names), strict=False)
    shared = [column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, columns)]
    while shared and not _is_module(network, ".".join(shared)):
        shared = shared[:-1]
    return ".".join(shared) or None


def _is_module(network: nn.Module, path: str) -> bool:
    try:
        network.get_submodule(path)
    except AttributeError:
        return False
    return True


def _is_head(network: nn.Module, path: str, module: nn.Module) -> bool:
    """Tell whether a module has the last linear layer or convolution of a network, and no other convolution."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    own = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return bool(own) and own[-1] is layers[-1] and not any(isinstance(m, nn.Conv2d) for m in own)


def _grouped(path: str, state: State) -> dict[str, dict[str, Tensor]]:
    """Return the weights of a module by layer: {"1": {"weight": …, "bias": …}}; its own are under an empty name."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name.startswith(f"{path}."):
            layer, _, parameter = name[len(path) + 1 :].rpartition(".")
            layers.setdefault(layer, {})[parameter] = tensor
    return dict(sorted(layers.items(), key=lambda item: int(item[0]) if item[0].isdigit() else -1))

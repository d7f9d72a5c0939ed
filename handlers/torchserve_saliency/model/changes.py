"""Changes to a network of a library before its weights are loaded: another head, other input channels.

They are stored in the archive's configuration as plain data, and so are applied again at load:
`{"conv1": {"in_channels": 1}, "fc": {"layers": [{"flatten": "flatten"}, {"1": {"linear": [512, 5]}}]}}`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

import torch
from torch import nn

from torchserve_saliency.errors import ModelError, error_summary

Layers = Sequence[Mapping[str, object]]  # of one name and layer each
Change = Mapping[str, object]

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "hardswish": nn.Hardswish,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
    }
)
_PLAIN: Mapping[str, Callable[[], nn.Module]] = MappingProxyType({"flatten": nn.Flatten, **ACTIVATIONS})
_SIZED: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {"linear": nn.Linear, "batch_norm": nn.BatchNorm1d, "layer_norm": nn.LayerNorm}
)


def apply_changes(network: nn.Module, changes: Mapping[str, Change]) -> nn.Module:
    """Return the network with the changes, by the path of the module that each of them changes.

    A change is `{"in_channels": n}` of a convolution, with `"bias": true` if it gets one, or `{"layers": […]}` of a
    new module, each with its name; a single layer without a name is the module itself. Raise ModelError if a change
    does not apply.
    """
    for path, change in changes.items():
        try:
            if "in_channels" in change:
                _set_channels(network.get_submodule(path), int(str(change["in_channels"])), bool(change.get("bias")))
            else:
                _replace(network, path, _built(cast(Layers, change["layers"])))
        except Exception as error:
            raise ModelError(f"the change of '{path}' cannot be applied: {error_summary(error)}") from error
    return network


def _set_channels(convolution: nn.Module, channels: int, bias: bool) -> None:
    """Give a convolution a number of input channels, and a bias if `bias` is true; its weights are initial ones."""
    if not isinstance(convolution, nn.Conv2d):
        raise TypeError(f"{type(convolution).__name__} is no convolution")
    shape = (convolution.out_channels, channels // convolution.groups, *convolution.kernel_size)
    convolution.in_channels = channels
    convolution.weight = nn.Parameter(torch.empty(shape))
    if bias:
        convolution.bias = nn.Parameter(torch.empty(convolution.out_channels))
    convolution.reset_parameters()


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    network.get_submodule(path)  # it must exist
    setattr(network.get_submodule(parent), name, module)


def _built(layers: Layers) -> nn.Module:
    """Return a sequence of layers with their names, or the only layer if its name is empty."""
    made = OrderedDict((name, _layer(layer)) for each in layers for name, layer in each.items())
    return made[""] if "" in made else nn.Sequential(made)


def _layer(layer: object) -> nn.Module:
    if isinstance(layer, str):
        return _PLAIN[layer]()
    assert isinstance(layer, Mapping)
    ((kind, sizes),) = layer.items()
    if kind == "layers":
        return _built(sizes)
    return _SIZED[kind](*sizes)

"""Forward hooks that capture layer outputs or mask channels; all are removed when their context ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from torchserve_saliency.engine.rows import ChannelMask, Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.layers import channel_axis, to_grid
from torchserve_saliency.model.module_outputs import first_tensor
from torchserve_saliency.propagation.relu_rules import RowRules, Rule


def run_with_hooks(
    classifier: Classifier, chunks: Sequence[Rows], inputs: Tensor, cut: bool
) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Run a batch with its chunks' rules, channel masks, layers and mode.

    Return the logits, the activations of the layers by name, and the outputs of the mode by name. For `cut`, see
    `captured`.
    """
    units, layers = chunks[0].units, list(dict.fromkeys(layer for chunk in chunks for layer in chunk.layers))
    rules = [chunk.rule for chunk in chunks for _ in range(len(chunk.inputs))]
    starts = itertools.accumulate((len(chunk.inputs) for chunk in chunks), initial=0)
    masks = [(start, chunk.channel_mask) for start, chunk in zip(starts, chunks, strict=False) if chunk.channel_mask]
    height, width = inputs.shape[2:]
    with ExitStack() as stack:
        stack.enter_context(masked_channels(classifier.network, masks, (height, width)))
        activations = stack.enter_context(captured(classifier.network, [*layers, *filter(None, [units])], cut))
        if any(rule is not Rule.PLAIN for rule in rules):
            stack.enter_context(RowRules(rules, inputs.device))
        mode = chunks[0].mode
        mode_outputs = stack.enter_context(mode.around(len(inputs))) if mode else {}
        logits = classifier.forward(inputs)
        if units:
            logits = _grid(units, activations[units], (height, width)).mean((2, 3))
        return logits, {name: activations[name] for name in layers}, mode_outputs


@contextmanager
def captured(network: nn.Module, names: Sequence[str], cut: bool) -> Iterator[Mapping[str, Tensor]]:
    """Capture the outputs of the named layers during forward passes inside this context.

    The network continues with a copy, so that an in-place operation cannot change the captured tensor. If `cut`, the
    autograd graph starts at the captured tensors. If a layer runs several times, its last output is kept.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., object]:
        def hook(module: nn.Module, args: object, output: object) -> object:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            outputs[name] = tensor.detach().requires_grad_() if cut and not tensor.requires_grad else tensor
            return replace_first(output, outputs[name].clone())

        return hook

    with ExitStack() as hooks:
        for name in names:
            hooks.callback(network.get_submodule(name).register_forward_hook(keep(name)).remove)
        yield outputs


def replace_first(output: object, tensor: Tensor) -> object:
    """Return a module's output with its first tensor replaced."""
    if isinstance(output, tuple | list):
        return type(output)((tensor, *output[1:]))
    return tensor


@contextmanager
def masked_channels(
    network: nn.Module, masks: Sequence[tuple[int, ChannelMask]], size: tuple[int, int]
) -> Iterator[None]:
    """Set one output channel per row of the masked layers to zero, for inputs of `size`.

    Each mask comes with the index of its first row in the batch.
    """

    def zero(start: int, channels: Tensor) -> Callable[..., object]:
        def hook(module: nn.Module, args: tuple[object, ...], output: object) -> object:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            masked = tensor.clone()
            by_channel = masked.movedim(channel_axis(masked, size), 1)
            by_channel[torch.arange(start, start + len(channels)), channels] = 0
            return replace_first(output, masked)

        return hook

    with ExitStack() as hooks:
        for start, mask in masks:
            layer = network.get_submodule(mask.layer)
            hooks.callback(layer.register_forward_hook(zero(start, mask.channels)).remove)
        yield


def on_grids(
    chunk: Rows, activations: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Return a chunk's activations and gradients with those of its layers as grids [n, C, h, w] and [T, n, C, h, w].

    The outputs of a mode keep their shape. Raise RequestError 422 if a layer has no spatial grid.
    """
    size = (chunk.inputs.shape[2], chunk.inputs.shape[3])
    grids = {layer: _grid(layer, activations[layer], size) for layer in chunk.layers}
    gradient_grids = {
        layer: torch.stack([_grid(layer, gradient, size) for gradient in gradients[layer]])
        for layer in chunk.layers
        if layer in gradients
    }
    return {**activations, **grids}, {**gradients, **gradient_grids}


def _grid(layer: str, tensor: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a layer's tensor [n, …] as a grid [n, C, h, w]; raise RequestError 422 if it has none."""
    grid = to_grid(tensor, size)
    if grid is None:
        raise RequestError(422, "LayerException", f"layer '{layer}' has no spatial grid", "layer")
    return grid

"""Hooks on a network's layers while it runs: outputs collected, channels silenced; gone when the context is left."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from saliency.errors import RequestError
from saliency.layers import channel_axis, to_grid
from saliency.model import Classifier
from saliency.recording import first_tensor
from saliency.rows import Rows, Silence, Tapped
from saliency.rules import RowRules, Rule


def listened(
    classifier: Classifier, pieces: Sequence[Rows], inputs: Tensor, cut: bool
) -> tuple[Tensor, Tapped, Tapped]:
    """Return the logits of a batch under its pieces' rules, silences and mode; its layers, and what its mode taps."""
    units, layers = pieces[0].units, list(dict.fromkeys(layer for piece in pieces for layer in piece.layers))
    rules = [piece.rule for piece in pieces for _ in range(len(piece.inputs))]
    starts = itertools.accumulate((len(piece.inputs) for piece in pieces), initial=0)
    silences = [(start, piece.silence) for start, piece in zip(starts, pieces, strict=False) if piece.silence]
    height, width = inputs.shape[2:]
    with ExitStack() as stack:
        stack.enter_context(silenced(classifier.network, silences, (height, width)))
        found = stack.enter_context(captured(classifier.network, [*layers, *filter(None, [units])], cut))
        if any(rule is not Rule.PLAIN for rule in rules):
            stack.enter_context(RowRules(rules, inputs.device))
        mode = pieces[0].mode
        tapped = stack.enter_context(mode.around(len(inputs))) if mode else {}
        logits = classifier.forward(inputs)
        if units:
            logits = _grid(units, found[units], (height, width)).mean((2, 3))
        return logits, {name: found[name] for name in layers}, tapped


@contextmanager
def captured(network: nn.Module, names: Sequence[str], cut: bool) -> Iterator[Mapping[str, Tensor]]:
    """Collect the outputs of the named layers during forward passes inside; the hooks are gone afterwards.

    The network goes on with a copy, so that an operation in place cannot change what was collected. With `cut`, the
    graph starts at the layers: nothing before them is recorded. A layer that runs twice is collected the last time.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., object]:
        def hook(module: nn.Module, args: object, output: object) -> object:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            outputs[name] = tensor.detach().requires_grad_() if cut and not tensor.requires_grad else tensor
            return replaced(output, outputs[name].clone())

        return hook

    with ExitStack() as hooks:
        for name in names:
            hooks.callback(network.get_submodule(name).register_forward_hook(keep(name)).remove)
        yield outputs


def replaced(output: object, tensor: Tensor) -> object:
    """Return `output` with its first tensor replaced."""
    if isinstance(output, tuple | list):
        return type(output)((tensor, *output[1:]))
    return tensor


@contextmanager
def silenced(network: nn.Module, silences: Sequence[tuple[int, Silence]], size: tuple[int, int]) -> Iterator[None]:
    """Have layers put out zeros in a channel a row, for inputs of `size`; silences come with their first row."""

    def mute(start: int, channels: Tensor) -> Callable[..., object]:
        def hook(module: nn.Module, args: tuple[object, ...], output: object) -> object:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            muted = tensor.clone()
            by_channel = muted.movedim(channel_axis(muted, size), 1)
            by_channel[torch.arange(start, start + len(channels)), channels] = 0
            return replaced(output, muted)

        return hook

    with ExitStack() as hooks:
        for start, silence in silences:
            layer = network.get_submodule(silence.layer)
            hooks.callback(layer.register_forward_hook(mute(start, silence.channels)).remove)
        yield


Tensors = dict[str, Tensor]


def gridded(
    activations: Mapping[str, Tensor], gradients: Mapping[str | None, Tensor], piece: Rows
) -> tuple[Tensors, Tensors]:
    """Return what a piece taps and its gradients, those of its layers on their grids; RequestError 422 without one."""
    size = (piece.inputs.shape[2], piece.inputs.shape[3])
    own = dict(activations)
    slopes = {name: gradients[name] for name in own if name in gradients}
    for layer in piece.layers:
        own[layer] = _grid(layer, own[layer], size)
        if layer in slopes:
            slopes[layer] = torch.stack([_grid(layer, gradient, size) for gradient in slopes[layer]])
    return own, slopes


def _grid(layer: str, tensor: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a layer's tensor [n, …] on its grid [n, C, h, w]."""
    grid = to_grid(tensor, size)
    if grid is None:
        raise RequestError(422, "LayerException", f"layer '{layer}' has no spatial grid", "layer")
    return grid

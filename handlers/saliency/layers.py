"""Layers that a class activation map can be read from: their names, their grids, their activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import Permute

from saliency.recording import recorded

Forward = Callable[[Tensor], Tensor]
_MAX_PREFIX = 16  # class, distillation and register tokens that may stand before the grid
_LESSER = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d, Permute)  # the map before them says the same


@dataclass(frozen=True)
class Layers:
    """Names of the layers with spatial extent, in the order they run, and the one a CAM takes by default."""

    names: tuple[str, ...]
    default: str | None


def to_grid(activation: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Return `activation` as [n, C, h, w] for an input of `size`, or None where it has no spatial grid.

    Taken as they are: [n, C, h, w]; turned: [n, h, w, C]; unfolded: tokens [n, prefix + h·w, C].
    """
    if activation.dim() == 4:
        as_is, turned = _skew(activation.shape[2:], size), _skew(activation.shape[1:3], size)
        if min(as_is, turned) > max(size):
            return None
        return activation.movedim(channel_axis(activation, size), 1)
    if activation.dim() == 3 and (found := token_grid(activation.shape[1], size)):
        prefix, h, w = found
        return activation[:, prefix:].transpose(1, 2).reshape(len(activation), -1, h, w)
    return None


def channel_axis(activation: Tensor, size: tuple[int, int]) -> int:
    """Return the dimension of an activation's channels, for an input of `size`: 1 of [n, C, h, w], else the last."""
    if activation.dim() == 4 and _skew(activation.shape[2:], size) <= _skew(activation.shape[1:3], size):
        return 1
    return activation.dim() - 1


def _skew(grid: Sequence[int], size: tuple[int, int]) -> float:
    """Return how far `grid` is from `size` scaled down, in pixels times cells; infinite for fewer than two cells."""
    (h, w), (height, width) = grid, size
    return abs(h * width - w * height) if h * w > 1 and h <= height else float("inf")


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int, int] | None:
    """Return (prefix tokens, h, w) of the patch grid that `tokens` make, the fewest prefix tokens first."""
    height, width = size
    grids = {(height // p) * (width // p): (height // p, width // p) for p in range(max(size) // 2, 1, -1)}
    for prefix in range(_MAX_PREFIX):
        if tokens - prefix > 1 and tokens - prefix in grids:
            return prefix, *grids[tokens - prefix]
    return None


def find_layers(network: nn.Module, forward: Forward, example: Tensor) -> Layers:
    """Return the layers with spatial extent, found by running `example` [1, C, H, W] forward and backward once.

    The default is the last block or norm whose grid still reaches the logits: the final feature map of a convolutional
    network, and of a transformer that reads its class token alone the norm before the last block's attention.
    """
    size = (example.shape[2], example.shape[3])
    with torch.enable_grad(), recorded(network) as outputs:
        logits = forward(example.detach().requires_grad_())
        grids = {
            name: out
            for name, out in outputs.tensors.items()
            if len(out) == len(example) and to_grid(out, size) is not None
        }
        made = {name: out for name, out in grids.items() if out.requires_grad and name not in outputs.handed_on}
        answers = _answers(network, outputs.tensors, logits.shape[1])
        candidates = _candidates(network, made, answers)
        weights = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype)
        heard = _last_heard(candidates, (logits.flatten() * weights).sum(), size)
    names = tuple(grids)
    return Layers(names, heard or (names[-1] if names else None))


def _answers(network: nn.Module, outputs: Mapping[str, Tensor], classes: int) -> set[str]:
    """Return the layers from the last weights on whose maps have a channel a class: they are answers already."""
    order = list(outputs)
    weighted = [
        i for i, name in enumerate(order) if next(network.get_submodule(name).parameters(False), None) is not None
    ]
    return {name for name in order[max(weighted, default=0) :] if classes in outputs[name].shape[1:]}


def _candidates(network: nn.Module, made: Mapping[str, Tensor], answers: set[str]) -> Mapping[str, Tensor]:
    """Return the layers that a default may be: what blocks, convolutions, norms and rectifiers make.

    A projection is a part of an attention or of a perceptron, and is taken where there is nothing else; so are answers.
    """
    whole = {name: out for name, out in made.items() if not isinstance(network.get_submodule(name), _LESSER)}
    blocks = {name: out for name, out in whole.items() if not isinstance(network.get_submodule(name), nn.Linear)}
    inner = {name: out for name, out in blocks.items() if name not in answers}
    return inner or blocks or whole or made


def _last_heard(candidates: Mapping[str, Tensor], score: Tensor, size: tuple[int, int]) -> str | None:
    """Return the last candidate with a gradient on its grid; the last of all where a zero head mutes every one."""
    if not candidates or not score.requires_grad:
        return None
    grads: Sequence[Tensor | None] = torch.autograd.grad(score, list(candidates.values()), allow_unused=True)
    for name, grad in reversed(list(zip(candidates, grads, strict=True))):
        grid = None if grad is None else to_grid(grad, size)
        if grid is not None and bool(grid.any()):
            return name
    return list(candidates)[-1]

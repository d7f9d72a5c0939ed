"""The layers of a network with a spatial grid, and the default layer for class activation maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torchvision.ops import Permute

from torchserve_saliency.model.logits import Forward
from torchserve_saliency.model.module_outputs import record_outputs

_MAX_PREFIX = 16  # class, distillation and register tokens that may precede the patches
# these only rearrange the map before them, or put out attention [n, heads, N, N], which looks like a map
_NO_BLOCKS = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d, Permute, nn.Softmax)


@dataclass(frozen=True)
class Layers:
    """Names of the layers with a spatial grid, in the order in which they run, and the default layer of CAMs.

    `grids` holds the height and width of each grid.
    """

    names: tuple[str, ...]
    default: str | None
    grids: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def to_grid(activation: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Return `activation` as [n, C, h, w] for an input of `size` (height, width), or None without a spatial grid.

    It may have the shape [n, C, h, w], [n, h, w, C], or [n, prefix + h·w, C] for tokens. Pooled features [n, C, 1] and
    [n, C, 1, 1] have no grid, even if C is a possible number of tokens.
    """
    if activation.dim() == 4:
        if min(_distortions(activation, size)) > max(size):
            return None
        return activation.movedim(channel_axis(activation, size), 1)
    if activation.dim() == 3 and activation.shape[2] > 1 and (found := token_grid(activation.shape[1], size)):
        prefix, h, w = found
        return activation[:, prefix:].transpose(1, 2).reshape(len(activation), -1, h, w)
    return None


def channel_axis(activation: Tensor, size: tuple[int, int]) -> int:
    """Return the channel dimension of an activation for an input of `size`: 1 if it is [n, C, h, w], else the last."""
    if activation.dim() == 4:
        channels_first, channels_last = _distortions(activation, size)
        return 1 if channels_first <= channels_last else 3
    return activation.dim() - 1


def _distortions(activation: Tensor, size: tuple[int, int]) -> tuple[float, float]:
    """Return the distortion of a four-dimensional activation if it is [n, C, h, w], and if it is [n, h, w, C]."""
    last = _distortion(activation.shape[1:3], size) if activation.shape[3] > 1 else float("inf")
    return _distortion(activation.shape[2:], size), last


def _distortion(grid: Sequence[int], size: tuple[int, int]) -> float:
    """Return |h·width - w·height|, which is 0 if the grid has the aspect ratio of the input.

    Infinite if the grid has fewer than two cells or is larger than the input.
    """
    (h, w), (height, width) = grid, size
    return abs(h * width - w * height) if h * w > 1 and h <= height else float("inf")


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int, int] | None:
    """Return (prefix tokens, h, w) for `tokens` that include a grid of square patches, or None.

    Of several possible grids, return the one with the fewest prefix tokens.
    """
    height, width = size
    grids = {(height // p) * (width // p): (height // p, width // p) for p in range(max(size) // 2, 1, -1)}
    for prefix in range(_MAX_PREFIX):
        if tokens - prefix > 1 and tokens - prefix in grids:
            return prefix, *grids[tokens - prefix]
    return None


def find_layers(network: nn.Module, forward: Forward, example: Tensor) -> Layers:
    """Return the layers with a spatial grid, found by a forward and backward pass of `example` [n, C, H, W].

    With two rows or more, tensors that do not depend on the picture, such as position biases, are not taken for layers.

    The default is the last block or norm with a gradient on its grid: the last feature map of a convolutional network,
    or the norm before the last attention of a transformer whose head reads only the class token.
    """
    size = (example.shape[2], example.shape[3])
    with torch.enable_grad(), record_outputs(network) as outputs:
        logits = forward(example.detach().requires_grad_())
        grids = {
            name: out
            for name, out in outputs.tensors.items()
            if len(out) == len(example) and to_grid(out, size) is not None
        }
        computed = {name: out for name, out in grids.items() if out.requires_grad and name not in outputs.unchanged}
        class_maps = _class_maps(network, outputs.tensors, logits.shape[1])
        candidates = _candidates(network, computed, class_maps)
        weights = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype)
        default = _last_with_gradient(candidates, (logits.flatten() * weights).sum(), size)
    names = tuple(grids)
    sizes = {name: _grid_size(out, size) for name, out in grids.items()}
    return Layers(names, default or (names[-1] if names else None), sizes)


def _grid_size(activation: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of the grid of an activation that has one."""
    grid = to_grid(activation, size)
    assert grid is not None
    return grid.shape[2], grid.shape[3]


def _class_maps(network: nn.Module, outputs: Mapping[str, Tensor], classes: int) -> set[str]:
    """Return the layers, from the last one with weights on, whose outputs have one channel per class."""
    order = list(outputs)
    weighted = [
        i for i, name in enumerate(order) if next(network.get_submodule(name).parameters(False), None) is not None
    ]
    return {name for name in order[max(weighted, default=0) :] if classes in outputs[name].shape[1:]}


def _candidates(network: nn.Module, computed: Mapping[str, Tensor], class_maps: set[str]) -> Mapping[str, Tensor]:
    """Return the candidates for the default: blocks, convolutions, norms and rectifiers.

    Linear projections, which are parts of an attention or a perceptron, and class maps are included only in the
    absence of other layers.
    """
    layers = {name: out for name, out in computed.items() if not isinstance(network.get_submodule(name), _NO_BLOCKS)}
    blocks = {name: out for name, out in layers.items() if not isinstance(network.get_submodule(name), nn.Linear)}
    features = {name: out for name, out in blocks.items() if name not in class_maps}
    return features or blocks or layers or computed


def _last_with_gradient(candidates: Mapping[str, Tensor], score: Tensor, size: tuple[int, int]) -> str | None:
    """Return the last candidate whose gradient on its grid is not zero.

    If all gradients are zero, because the head's weights are, return the last candidate. Return None without any.
    """
    if not candidates or not score.requires_grad:
        return None
    grads: Sequence[Tensor | None] = torch.autograd.grad(score, list(candidates.values()), allow_unused=True)
    for name, grad in reversed(list(zip(candidates, grads, strict=True))):
        grid = None if grad is None else to_grid(grad, size)
        if grid is not None and bool(grid.any()):
            return name
    return list(candidates)[-1]

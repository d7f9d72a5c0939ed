"""Layers that a class activation map can be read from: their names, their grids, their activations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
_MAX_PREFIX = 16  # class, distillation and register tokens that may stand before the grid
_SAME_VALUES = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d)


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


def first_tensor(output: object) -> Tensor | None:
    """Return the tensor that a module put out, the first one of a tuple or list."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def find_layers(network: nn.Module, forward: Forward, example: Tensor) -> Layers:
    """Return the layers with spatial extent, found by running `example` [1, C, H, W] forward and backward once.

    The default is the last one whose grid still reaches the logits: the final feature map of a convolutional network,
    and of a transformer that reads its class token alone the norm before the last block's attention.
    """
    with torch.enable_grad(), _recorded(network) as outputs:
        logits = forward(example.detach().requires_grad_())
        size = (example.shape[2], example.shape[3])
        grids = {
            name: out for name, out in outputs.items() if len(out) == len(example) and to_grid(out, size) is not None
        }
        names = tuple(grids)
        candidates = _candidates(network, grids, logits.shape[1], size)
        weights = torch.linspace(-1, 1, logits.numel(), device=logits.device, dtype=logits.dtype)
        heard = _last_heard(candidates, (logits.flatten() * weights).sum(), size)
        return Layers(names, heard or (names[-1] if names else None))


def _candidates(
    network: nn.Module, grids: Mapping[str, Tensor], classes: int, size: tuple[int, int]
) -> dict[str, Tensor]:
    """Return the layers that a default may be: those of the kind of map that runs last, pooling and dropout left out.

    A convolutional stem does not make a transformer a convolutional network; maps with a channel a class are answers,
    unless all have as many.
    """
    kept = {
        name: out
        for name, out in grids.items()
        if out.requires_grad and not isinstance(network.get_submodule(name), _SAME_VALUES)
    }
    spatial = {name: out for name, out in kept.items() if out.dim() == 4}
    maps = {name: out for name, out in spatial.items() if _channels(out, size) != classes} or spatial
    tokens = {name: out for name, out in kept.items() if out.dim() == 3}
    order = list(kept)
    if maps and not (tokens and order.index(list(tokens)[-1]) > order.index(list(maps)[-1])):
        return maps
    widths = Counter(out.shape[-1] for out in tokens.values())
    return {name: out for name, out in tokens.items() if out.shape[-1] == widths.most_common(1)[0][0]}


def _channels(output: Tensor, size: tuple[int, int]) -> int:
    """Return how many channels a layer's grid has."""
    grid = to_grid(output, size)
    return 0 if grid is None else grid.shape[1]


def _last_heard(candidates: Mapping[str, Tensor], score: Tensor, size: tuple[int, int]) -> str | None:
    """Return the last candidate with a gradient on its grid; the last of all where a zero head mutes every one."""
    if not candidates or not score.requires_grad:
        return None
    grads: Sequence[Tensor | None] = torch.autograd.grad(score, list(candidates.values()), allow_unused=True)
    for name, grad in reversed(list(zip(candidates, grads, strict=True))):
        grid = None if grad is None else to_grid(grad, size)
        if grid is not None and float(grid.abs().max()) > 0:
            return name
    return list(candidates)[-1]


@contextmanager
def _recorded(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect every module's output during a forward pass, in the order in which the modules finish."""
    outputs: dict[str, Tensor] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                outputs.pop(name, None)
                outputs[name] = tensor

        return hook

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if name:
                hooks.callback(module.register_forward_hook(record(name)).remove)
        yield outputs

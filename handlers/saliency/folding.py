"""Batch norms folded into the convolutions before them: the same function in fewer steps."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

logger = logging.getLogger(__name__)
Forward = Callable[[Tensor], Tensor]
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
# by name, as timm is imported for its own networks alone: its kinds differ by padding or a rectifier
_CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d", "Conv2dSame")
_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "BatchNormAct2d")
_TOLERANCE = 1e-4


def fold_batch_norms(network: nn.Module, forward: Forward, example: Tensor) -> int:
    """Fold the batch norms of an eval network in place and return how many, 0 where its logits would change.

    `forward` runs `network` and returns logits; `example` [n, C, H, W] is what it is tried on. A folded norm
    becomes an `nn.Identity`, so that every layer keeps its name.
    """
    pairs = _find_pairs(network, forward, example)
    with torch.no_grad():
        before = forward(example)
        folds = [_Fold.do(network, conv, norm) for conv, norm in pairs]
        if _same(forward, example, before):
            return len(folds)
    for fold in reversed(folds):
        fold.undo(network)
    logger.warning("batch norms are left as they are: folded, they change the logits")
    return 0


def _same(forward: Forward, example: Tensor, before: Tensor) -> bool:
    try:
        after = forward(example)
    except Exception:  # whatever a network does when one of its norms is gone, it gets it back
        return False
    return bool((after - before).norm() <= _TOLERANCE * before.norm())


def _find_pairs(network: nn.Module, forward: Forward, example: Tensor) -> list[tuple[Convolution, Norm]]:
    """Return the (convolution, batch norm) that run once each, the one's output going into the other alone.

    Read from the autograd graph of a real pass, which follows any Python that the network is written in.
    """
    calls: Counter[nn.Module] = Counter()
    made: dict[Node, nn.Module] = {}
    taken: dict[Node, nn.Module] = {}

    def makes(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] += 1
        if output.grad_fn is not None:
            made[output.grad_fn] = module

    def takes(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        if args and args[0].grad_fn is not None:
            taken[args[0].grad_fn] = module

    with ExitStack() as hooks, torch.enable_grad():
        for module in network.modules():
            if _foldable(module, _CONVOLUTIONS):
                hooks.callback(module.register_forward_hook(makes).remove)
            elif _foldable(module, _NORMS) and getattr(module, "running_mean", None) is not None:
                hooks.callback(module.register_forward_pre_hook(takes).remove)
        logits = forward(example.detach().requires_grad_())
    uses = _uses(logits.grad_fn)
    return [
        (conv, norm)  # type: ignore[misc]
        for node, conv in made.items()
        if (norm := taken.get(node)) and uses[node] == calls[conv] == calls[norm] == 1
    ]


def _foldable(module: nn.Module, kinds: tuple[str, ...]) -> bool:
    """Tell whether a module is of a kind that is known through and through, and nobody listens to it."""
    ours = type(module).__module__.split(".")[0] in ("torch", "timm")
    return ours and type(module).__name__ in kinds and not (module._forward_hooks or module._forward_pre_hooks)


def _uses(root: Node | None) -> Counter[Node]:
    """Return how many operations take each node's result, over the graph that ends in `root`."""
    uses: Counter[Node] = Counter()
    for node in _nodes(root):
        uses.update(following for following, _ in node.next_functions if following is not None)
    return uses


def _nodes(root: Node | None) -> Iterator[Node]:
    waiting, seen = [root], {root}
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        yield node
        new = {following for following, _ in node.next_functions} - seen
        seen |= new
        waiting.extend(new)


@dataclass(frozen=True)
class _Fold:
    """One norm folded into one convolution, and what it takes to undo it."""

    conv: Convolution
    weight: Tensor
    bias: Tensor | None
    norm: Norm
    replacement: nn.Module

    @classmethod
    def do(cls, network: nn.Module, conv: Convolution, norm: Norm) -> _Fold:
        """Fold `norm` into `conv`; what a norm of timm's holds besides (an activation) stays in its place."""
        children = OrderedDict(norm.named_children())
        rest = nn.Sequential(children) if children else nn.Identity()
        fold = cls(conv, conv.weight, conv.bias, norm, rest)
        weight, bias = _merged(conv, norm)
        conv.weight, conv.bias = _frozen(weight, conv.weight), _frozen(bias, conv.weight)
        _replace(network, norm, fold.replacement.eval())
        return fold

    def undo(self, network: nn.Module) -> None:
        """Put everything back."""
        self.conv.weight, self.conv.bias = self.weight, self.bias
        _replace(network, self.replacement, self.norm)


def _merged(conv: Convolution, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution that does what both did, in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    return conv.weight.double() * scale.view(-1, *[1] * (conv.weight.dim() - 1)), shift


def _frozen(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().to(like), requires_grad=False)


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` where `old` stands, at every place in the tree."""
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)

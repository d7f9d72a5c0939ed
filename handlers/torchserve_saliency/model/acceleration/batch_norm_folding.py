"""Folding of batch norms into the convolutions before them: the same function with fewer operations."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from torchserve_saliency.model.logits import Forward

logger = logging.getLogger(__name__)
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
# by name, because timm is imported only for its own networks; its types differ by padding or an activation
_CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d", "Conv2dSame")
_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "BatchNormAct2d")
_TOLERANCE = 1e-4


def fold_batch_norms(network: nn.Module, forward: Forward, example: Tensor) -> int:
    """Fold the batch norms of a network in eval mode, in place, and return their number.

    `forward` runs `network` and returns logits. If folding changes the logits of `example` [n, C, H, W], it is undone
    and 0 is returned. A folded norm is replaced by `nn.Identity`, so all layers keep their names.
    """
    pairs = _find_pairs(network, forward, example)
    with torch.no_grad():
        before = forward(example)
        folds = [_Fold.apply(network, conv, norm) for conv, norm in pairs]
        if _same(forward, example, before):
            return len(folds)
    for fold in reversed(folds):
        fold.undo(network)
    logger.warning("batch norms are not folded, because that would change the logits")
    return 0


def _same(forward: Forward, example: Tensor, before: Tensor) -> bool:
    try:
        after = forward(example)
    except Exception:  # a network may depend on its norms in any way; the folds are undone
        return False
    return bool((after - before).norm() <= _TOLERANCE * before.norm())


def _find_pairs(network: nn.Module, forward: Forward, example: Tensor) -> list[tuple[Convolution, Norm]]:
    """Return pairs of a convolution and the batch norm that alone uses its output, if each of them runs once.

    They are read from the autograd graph of a forward pass, so the network's Python code may have any form.
    """
    calls: Counter[nn.Module] = Counter()
    producers: dict[Node, nn.Module] = {}
    consumers: dict[Node, nn.Module] = {}

    def record_producer(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] += 1
        if output.grad_fn is not None:
            producers[output.grad_fn] = module

    def record_consumer(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        if args and args[0].grad_fn is not None:
            consumers[args[0].grad_fn] = module

    with ExitStack() as hooks, torch.enable_grad():
        for module in network.modules():
            if _foldable(module, _CONVOLUTIONS):
                hooks.callback(module.register_forward_hook(record_producer).remove)
            elif _foldable(module, _NORMS) and getattr(module, "running_mean", None) is not None:
                hooks.callback(module.register_forward_pre_hook(record_consumer).remove)
        logits = forward(example.detach().requires_grad_())
    uses = _uses(logits.grad_fn)
    return [
        (conv, norm)  # type: ignore[misc]
        for node, conv in producers.items()
        if (norm := consumers.get(node)) and uses[node] == calls[conv] == calls[norm] == 1
    ]


def _foldable(module: nn.Module, type_names: tuple[str, ...]) -> bool:
    """Tell whether a module is a known layer type of PyTorch or timm with no hooks attached."""
    known_library = type(module).__module__.split(".")[0] in ("torch", "timm")
    hooked = module._forward_hooks or module._forward_pre_hooks
    return known_library and type(module).__name__ in type_names and not hooked


def _uses(root: Node | None) -> Counter[Node]:
    """Return the number of operations that use each node's result, in the graph that ends in `root`."""
    uses: Counter[Node] = Counter()
    for node in _nodes(root):
        uses.update(source for source, _ in node.next_functions if source is not None)
    return uses


def _nodes(root: Node | None) -> Iterator[Node]:
    """Yield the nodes of the graph that ends in `root`."""
    waiting, seen = [root], {root}
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        yield node
        new = {source for source, _ in node.next_functions} - seen
        seen |= new
        waiting.extend(new)


@dataclass(frozen=True)
class _Fold:
    """A norm folded into a convolution, and the original parameters, to undo it."""

    conv: Convolution
    weight: Tensor
    bias: Tensor | None
    norm: Norm
    replacement: nn.Module

    @classmethod
    def apply(cls, network: nn.Module, conv: Convolution, norm: Norm) -> _Fold:
        """Fold `norm` into `conv`; the child modules of a norm of timm (an activation) take its place."""
        children = OrderedDict(norm.named_children())
        replacement = nn.Sequential(children) if children else nn.Identity()
        fold = cls(conv, conv.weight, conv.bias, norm, replacement)
        weight, bias = _merged_parameters(conv, norm)
        conv.weight, conv.bias = _frozen(weight, conv.weight), _frozen(bias, conv.weight)
        _replace(network, norm, fold.replacement.eval())
        return fold

    def undo(self, network: nn.Module) -> None:
        """Restore the convolution and the norm."""
        self.conv.weight, self.conv.bias = self.weight, self.bias
        _replace(network, self.replacement, self.norm)


def _merged_parameters(conv: Convolution, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a convolution that is equivalent to both, in float64."""
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
    """Replace `old` by `new` everywhere in the network."""
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)

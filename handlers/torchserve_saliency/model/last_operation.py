"""The operation that made a tensor, read from its autograd graph: whether outputs are logits or probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

SOFTMAX, LOG_SOFTMAX, SIGMOID, LOG_SIGMOID = "softmax", "log_softmax", "sigmoid", "log_sigmoid"
UNBOUNDED = "unbounded"  # a linear layer, a convolution, or a rectifier after one: nothing keeps its values below 1
_ENDS: Mapping[str, str] = MappingProxyType(
    {
        "SoftmaxBackward": SOFTMAX,
        "LogSoftmaxBackward": LOG_SOFTMAX,
        "SigmoidBackward": SIGMOID,
        "HardsigmoidBackward": SIGMOID,
        "LogSigmoidBackward": LOG_SIGMOID,
        **dict.fromkeys(("AddmmBackward", "MmBackward", "BmmBackward", "BaddbmmBackward"), UNBOUNDED),
        **dict.fromkeys(("ConvolutionBackward", "NativeBatchNormBackward", "NativeLayerNormBackward"), UNBOUNDED),
        **dict.fromkeys(("ReluBackward", "LeakyReluBackward", "GeluBackward", "SiluBackward"), UNBOUNDED),
    }
)
# operations that change the shape or the type of a tensor, but not its values; several tensors may become one
_VIEWS = re.compile(
    "(View|UnsafeView|ReshapeAlias|Squeeze|Unsqueeze|Select|Slice|Clone|ToCopy|Alias|Transpose|T|Permute|Expand|Cat|"
    "Stack)Backward[0-9]*"
)
# the result is unbounded if all operands are; a ratio of two tensors may be a share, and so it is not followed
_SUMS = re.compile("(Add|Sub|Rsub|Neg|Mul|Div|Mean|Sum)Backward[0-9]*")
_LOGARITHMS: Mapping[str, str] = MappingProxyType({SOFTMAX: LOG_SOFTMAX, SIGMOID: LOG_SIGMOID})
_FOLLOWED = re.compile(f"{_VIEWS.pattern}|{_SUMS.pattern}|LogBackward[0-9]*")
_DEEPEST = 20


def last_operation(values: Tensor) -> str:
    """Return the kind of the operation that made a tensor, a value of the constants above; else an empty text.

    The tensor must have been computed inside `recorded`.
    """
    return _kind(values.grad_fn, _DEEPEST)


@contextmanager
def recorded(network: nn.Module) -> Iterator[None]:
    """Make PyTorch record the graph of a network that is called in this context, even if its parameters are frozen.

    A network may compute its features without gradients. Its last layer is recorded nevertheless.
    """
    frozen = [each for each in network.parameters() if not each.requires_grad and each.is_floating_point()]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _kind(function: Node | None, depth: int) -> str:
    """Return the kind of the operation `function`, which is looked for at most `depth` operations back."""
    name = "" if function is None or not depth else function.name()
    if function is None or (end := _ENDS.get(name.rstrip("0123456789"), "")):
        return end if function else ""
    before = [node for node, _ in function.next_functions if node is not None and not _is_leaf(node)]
    kinds = {_kind(node, depth - 1) for node in before} if _FOLLOWED.fullmatch(name) else set()
    common = kinds.pop() if len(kinds) == 1 else ""
    if name.startswith("Log"):
        return _LOGARITHMS.get(common, "")
    share = name.startswith("Div") and len(before) > 1
    return common if _VIEWS.fullmatch(name) or (common == UNBOUNDED and not share) else ""


def _is_leaf(function: Node) -> bool:
    return function.name().endswith("AccumulateGrad")  # of a parameter, such as a bias

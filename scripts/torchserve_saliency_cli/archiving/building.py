"""A network with its weights, built for the number of classes of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.checkpoint import State, fill
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments
from torchserve_saliency_cli.archiving.random_weights import with_random_heads


@dataclass(frozen=True)
class Source:
    """A network with its weights, and the values that the archive describes it by; `labels` is None if unknown."""

    network: nn.Module
    input: InputSpec
    labels: tuple[str, ...] | None
    arch: str | None = None
    arguments: Mapping[str, object] | None = None


def build_with_state(
    build: Callable[[Mapping[str, object]], nn.Module],
    arguments: Mapping[str, object],
    state: State | None,
    args: ArchiveArguments,
    usual: int,
) -> tuple[nn.Module, dict[str, object]]:
    """Return the network with the weights in `state`, and the arguments that it was built with.

    If `state` is None, the weights are random and seeded. `usual` is the number of classes that `build` has by default.
    """
    classes = {} if args.num_classes in (None, usual) else {"num_classes": args.num_classes}
    torch.manual_seed(args.seed)
    network = build({**arguments, **classes})
    if state is None:
        return with_random_heads(network), {**arguments, **classes}
    other = _other_classes(network, state, usual)
    if other and args.num_classes is None:
        classes = {"num_classes": other}
        network = build({**arguments, **classes})
    fill(network, state)
    return network, {**arguments, **classes}


def _other_classes(network: nn.Module, state: Mapping[str, Tensor], usual: int) -> int | None:
    """Return the weights' number of classes, or None if they differ in more than the first dimension of a head."""
    own = network.state_dict()
    pairs = [(own[key].shape, state[key].shape) for key in own if key in state and own[key].shape != state[key].shape]
    found = {theirs[0] for ours, theirs in pairs if ours and theirs and ours[0] == usual and ours[1:] == theirs[1:]}
    return found.pop() if len(found) == 1 else None


def suggestion(near: list[str]) -> str:
    """Return near matches of a name as the end of an error message."""
    return f"; did you mean {' or '.join(near)}?" if near else ""

"""A network of a library with its weights: it is built with the classes, the channels and the head of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.building import suggestion as suggestion
from torchserve_saliency.model.changes import Change, apply_changes
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency.model.state_match import Match
from torchserve_saliency.model.state_matching import match_state
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.adaptation import (
    RGB,
    first_convolution,
    has_added_bias,
    head_change,
    input_channels,
)
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.head_layers import OWN_FILE
from torchserve_saliency_cli.archiving.random_weights import with_random_heads
from torchserve_saliency_cli.archiving.separate_head import with_separate_head

Builder = Callable[[Mapping[str, object]], nn.Module]


@dataclass(frozen=True)
class Source:
    """A network with its weights, and the values that the archive describes it by; `labels` is None if unknown.

    `class_` names what makes it in the user's file, `changes` are those of a library's network, and `match` tells
    which part of a checkpoint the weights are. `code` is the Python source of a network that was written out, `origin`
    names it, and `activation` is the meaning of its outputs, if its library tells it.
    """

    network: nn.Module
    input: InputSpec
    labels: tuple[str, ...] | None
    arch: str | None = None
    arguments: Mapping[str, object] | None = None
    class_: str | None = None
    changes: Mapping[str, Change] = field(default_factory=dict)
    match: Match | None = None
    code: str | None = None
    origin: str | None = None
    activation: str | None = None


@dataclass(frozen=True)
class Built:
    """A network with its weights, the arguments and the changes that it was built with, and its match."""

    network: nn.Module
    arguments: dict[str, object]
    changes: dict[str, Change]
    channels: int = RGB
    match: Match | None = None


def build_with_state(
    build: Builder,
    arguments: Mapping[str, object],
    mappings: Mapping[str, State] | None,
    args: ArchiveArguments,
    usual: int,
    channels_argument: str | None = None,
) -> Built:
    """Return the network with the weights that fit it in the `mappings` of a checkpoint.

    If `mappings` is None, the weights are random and seeded. `usual` is the number of classes that `build` has by
    default, `channels_argument` its argument for the number of input channels, if it has one.
    """
    classes = {} if args.num_classes in (None, usual) else {"num_classes": args.num_classes}
    torch.manual_seed(args.seed)
    network = build({**arguments, **classes})
    if mappings is None:
        channels = len(args.mean or ()) or RGB
        built = _with_channels(build, {**arguments, **classes}, network, channels, channels_argument)
        return replace(built, network=with_random_heads(built.network))
    match = checked_match(mappings, network, args, with_head=True)
    other = _other_classes(network, match.state, args.num_classes or usual)
    if other and args.num_classes is not None:
        raise UsageError(f"--num-classes is {args.num_classes}, but the weights have {other} classes")
    if other:
        classes = {"num_classes": other}
        network = build({**arguments, **classes})
    channels, bias = input_channels(network, match.state) or RGB, has_added_bias(network, match.state)
    built = _with_channels(build, {**arguments, **classes}, network, channels, channels_argument, bias)
    heads = head_change(built.network, match.state, args.head_activation)
    _fill(apply_changes(built.network, heads), match.state)
    return replace(built, changes={**built.changes, **heads}, match=match)


def checked_match(
    mappings: Mapping[str, State], network: nn.Module, args: ArchiveArguments, with_head: bool = False
) -> Match:
    """Return the part of a checkpoint that fits a network, and if `with_head` is true, a head that is beside it.

    Raise ModelError if other layers beside it suggest that the trained network is a larger one.
    """
    own = network.state_dict()
    match = match_state(mappings, own, args.state)
    match = with_separate_head(match, mappings, network) if with_head else match
    if match.foreign and 2 * len(match.state.keys() & own.keys()) > len(own):  # else it is another network
        names = ", ".join(match.foreign[:3])
        more = f" and {len(match.foreign) - 3} more" if len(match.foreign) > 3 else ""
        raise ModelError(
            f"beside the weights that fit the network ('{match.place}'), the file has layers that it lacks: {names}"
            f"{more}; archive the whole network by --model-file, or, if predictions do not need them, say "
            f"--state {match.place}"
        )
    return match


def _fill(network: nn.Module, state: State) -> None:
    """Load the weights into a network of a library; raise ModelError with advice if they do not fit."""
    try:
        fill(network, state)
    except ModelError as error:
        raise ModelError(
            f"{error}; give the --arch that was trained, or, if the training changed the network, {OWN_FILE}"
        ) from error


def check_channels(channels: int, spec: InputSpec) -> None:
    """Raise UsageError if mean and std are not as many as a network's input channels."""
    if channels == spec.channels:
        return
    values = ",".join(["0.5"] * channels)
    raise UsageError(
        f"the network has {channels} input channel{'s' if channels > 1 else ''}, but mean and std have "
        f"{spec.channels} value{'s' if spec.channels > 1 else ''}: give those of the training, such as "
        f"--mean {values} --std {values}"
    )


def _with_channels(
    build: Builder,
    arguments: dict[str, object],
    network: nn.Module,
    channels: int,
    argument: str | None,
    bias: bool = False,
) -> Built:
    """Return the network with a number of input channels, by an argument of the builder or by a change.

    If `bias` is true, the first convolution gets one.
    """
    if channels != RGB and argument is not None:
        arguments = {**arguments, argument: channels}
        network = build(arguments)
    elif channels != RGB and "transform_input" in arguments:  # it is for the three channels of ImageNet
        arguments = {**arguments, "transform_input": False}
        network = build(arguments)
    path, convolution = first_convolution(network)
    change: dict[str, object] = {"bias": True} if bias else {}
    if bias or (channels != RGB and argument is None):
        change["in_channels"] = channels if argument is None or convolution is None else convolution.in_channels
    changes: dict[str, Change] = {path: change} if change else {}
    return Built(apply_changes(network, changes), arguments, changes, channels)


def _other_classes(network: nn.Module, state: Mapping[str, Tensor], usual: int) -> int | None:
    """Return the weights' number of classes, or None if they differ in more than the first dimension of a head."""
    own = network.state_dict()
    pairs = [(own[key].shape, state[key].shape) for key in own if key in state and own[key].shape != state[key].shape]
    found = {theirs[0] for ours, theirs in pairs if ours and theirs and ours[0] == usual and ours[1:] == theirs[1:]}
    return found.pop() if len(found) == 1 else None

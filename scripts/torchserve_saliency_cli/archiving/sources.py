"""The network of an archive, from a library, a Python file or a TorchScript file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.architectures import TIMM, scripted_network
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency.model.model_file import find_in_file
from torchserve_saliency.model.state_matching import match_state
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source as Source
from torchserve_saliency_cli.archiving.building import checked_match
from torchserve_saliency_cli.archiving.exported_source import own_input
from torchserve_saliency_cli.archiving.huggingface_source import huggingface_source
from torchserve_saliency_cli.archiving.huggingface_weights import HUGGING_FACE
from torchserve_saliency_cli.archiving.openclip_source import OPEN_CLIP, openclip_source
from torchserve_saliency_cli.archiving.random_weights import calibrate_norms
from torchserve_saliency_cli.archiving.timm_source import timm_source
from torchserve_saliency_cli.archiving.torchhub_source import TORCH_HUB, torchhub_source
from torchserve_saliency_cli.archiving.torchvision_source import torchvision_source
from torchserve_saliency_cli.archiving.weight_files import read_weights

_LIBRARIES: Mapping[str, Callable[[ArchiveArguments, str], Source]] = MappingProxyType(
    {
        TIMM: timm_source,
        HUGGING_FACE: huggingface_source,
        TORCH_HUB: torchhub_source,
        OPEN_CLIP: openclip_source,
    }
)


def find_source(args: ArchiveArguments) -> Source:
    """Return the network that the arguments name; raise UsageError or ModelError if it cannot be loaded."""
    source = _find(args)
    if args.random:
        calibrate_norms(source.network, source.input)
    return source


def _find(args: ArchiveArguments) -> Source:
    if args.model_file:
        return _from_file(args, args.model_file)
    if args.arch is None:
        return _from_script(args)
    for prefix, find in _LIBRARIES.items():
        if args.arch.startswith(prefix):
            return find(args, args.arch)
    return torchvision_source(args, args.arch.lower())


def _from_file(args: ArchiveArguments, path: Path) -> Source:
    """Return the network of the user's Python file."""
    if args.weights_file is None and not args.random:
        raise UsageError(f"--weights '{args.weights}' is no file; your own network has no weights by name")
    mappings = read_weights(args.weights_file) if args.weights_file else None
    torch.manual_seed(args.seed)
    fits = None if mappings is None else partial(_fits, mappings)
    name, network = find_in_file(path, args.class_, args.arguments, args.extra_files, fits)
    match = None if mappings is None else checked_match(mappings, network, args)
    if match is not None:
        fill(network, match.state)
    return Source(network, own_input(args), args.labels, arguments=args.arguments, class_=name, match=match)


def _fits(mappings: Mapping[str, State], network: nn.Module) -> int:
    """Return the number of a network's tensors if a mapping of a checkpoint has all of them, else 0."""
    own = network.state_dict()
    try:
        match = match_state(mappings, own)
    except ModelError:  # several mappings fit
        return len(own)
    shapes = {name: tensor.shape for name, tensor in match.state.items()}
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    return len(needed) if all(shapes.get(name) == own[name].shape for name in needed) else 0


def _from_script(args: ArchiveArguments) -> Source:
    """Return the network of a TorchScript file."""
    assert args.weights_file is not None
    return Source(scripted_network(args.weights_file), own_input(args), args.labels)

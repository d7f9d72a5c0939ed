"""The network of an archive, from torchvision, timm, a Python file or a TorchScript file."""

from __future__ import annotations

from pathlib import Path

import torch

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.architectures import TIMM, network_from_file, scripted_network
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source as Source
from torchserve_saliency_cli.archiving.preprocessing import changed_input
from torchserve_saliency_cli.archiving.random_weights import calibrate_norms
from torchserve_saliency_cli.archiving.timm_source import timm_source
from torchserve_saliency_cli.archiving.torchvision_source import torchvision_source
from torchserve_saliency_cli.archiving.weight_files import read_weights


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
    return timm_source(args, args.arch) if args.arch.startswith(TIMM) else torchvision_source(args, args.arch.lower())


def _from_file(args: ArchiveArguments, path: Path) -> Source:
    """Return the network of the user's Python file."""
    torch.manual_seed(args.seed)
    network = network_from_file(path)
    if args.weights_file:
        fill(network, read_weights(args.weights_file))
    elif not args.random:
        raise UsageError(f"--weights '{args.weights}' is no file; your own network has no weights by name")
    return Source(network, _own_input(args), args.labels)


def _from_script(args: ArchiveArguments) -> Source:
    """Return the network of a TorchScript file."""
    assert args.weights_file is not None
    return Source(scripted_network(args.weights_file), _own_input(args), args.labels)


def _own_input(args: ArchiveArguments) -> InputSpec:
    """Return the input of the user's own network; values that are not given are those of ImageNet."""
    size = args.input_size or (224, 224)
    return changed_input(InputSpec(size, (max(size),)), args)

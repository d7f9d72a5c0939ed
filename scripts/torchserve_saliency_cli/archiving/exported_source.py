"""Networks of packages that the TorchServe image lacks: archiving writes them out as plain PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.state_match import Match
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source
from torchserve_saliency_cli.archiving.preprocessing import changed_input
from torchserve_saliency_cli.archiving.progress import step
from torchserve_saliency_cli.exporting.export import export
from torchserve_saliency_cli.exporting.source_code import FUNCTION


def exported_source(
    network: nn.Module,
    spec: InputSpec,
    labels: Sequence[str] | None,
    origin: str,
    activation: str | None = None,
    match: Match | None = None,
) -> Source:
    """Return the source of a network that maps pictures [n, C, H, W] of the size in `spec` to one tensor of logits.

    `origin` names the network and its package. Raise ModelError if the network cannot be written out.
    """
    step("writing the network out as plain PyTorch")
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(2, spec.channels, *spec.size, generator=generator)
    exported = export(network, example, f"The network {origin}, written out as plain PyTorch by torch.export.")
    return Source(
        *(exported.network, spec, None if labels is None else tuple(labels)),
        class_=FUNCTION,
        code=exported.code,
        origin=origin,
        activation=activation,
        match=match,
    )


def own_input(args: ArchiveArguments) -> InputSpec:
    """Return the input that the command line gives; values that are not given are those of ImageNet."""
    size = args.input_size or (224, 224)
    return changed_input(InputSpec(size, (max(size),)), args)


def optional_package(name: str, arch: str) -> ModuleType:
    """Return a package that only archiving needs; raise UsageError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = {"transformers": "hf", "open_clip": "openclip"}[name]
        raise UsageError(
            f"--arch {arch} needs the package {name} here (not on the server), which cannot be imported ({error}): "
            f"pip install 'torchserve-saliency[{extra}]'"
        ) from error

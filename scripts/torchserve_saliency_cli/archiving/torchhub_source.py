"""Networks of a repository with a hubconf.py, as `torch.hub` loads them from GitHub or from a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError, error_summary
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.checkpoint import fill
from torchserve_saliency.model.logits import OutputKey, find_logits, take_logits
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.building import Source, checked_match
from torchserve_saliency_cli.archiving.exported_source import exported_source, own_input
from torchserve_saliency_cli.archiving.weight_files import read_weights

TORCH_HUB = "torchhub:"


class ChosenOutput(nn.Module):
    """A network that returns one of the outputs of another one."""

    def __init__(self, network: nn.Module, key: OutputKey) -> None:
        super().__init__()
        self.network = network
        self.key = key

    def forward(self, x: Tensor) -> Tensor:
        return take_logits(self.network(x), self.key)


def torchhub_source(args: ArchiveArguments, arch: str) -> Source:
    """Return the network of an entry of a repository, `torchhub:OWNER/NAME:ENTRY` or `torchhub:FOLDER:ENTRY`.

    The repository's code is run here, and only here. Raise UsageError if there is no such entry.
    """
    place, _, entry = arch.removeprefix(TORCH_HUB).rpartition(":")
    if not place or not entry:
        raise UsageError(f"--arch {arch}: torchhub:OWNER/NAME:ENTRY, or torchhub:FOLDER:ENTRY, names an entry")
    if args.weights_file is None and args.weights.upper() != "DEFAULT":
        raise UsageError(
            f"--weights '{args.weights}' does not apply to {arch}: its arguments choose the weights, as in "
            "--arguments '{\"pretrained\": false}', or --weights gives a file"
        )
    local = Path(place).is_dir()
    origin = f"{TORCH_HUB}{Path(place).resolve().name if local else place}:{entry}"
    with _modules_forgotten(Path(place) if local else Path(torch.hub.get_dir())):
        network = _loaded(place, entry, args)
        match = None
        if args.weights_file:
            match = checked_match(read_weights(args.weights_file), network, args)
            fill(network, match.state)
        spec = own_input(args)
        return exported_source(_with_one_output(network, spec, args), spec, args.labels, origin, match=match)


@contextmanager
def _modules_forgotten(folder: Path) -> Iterator[None]:
    """Remove the new modules of a folder afterwards: `torch.hub` leaves them, and other files may have their names."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name not in before and file and folder.resolve() in Path(file).resolve().parents:
                del sys.modules[name]


def _loaded(place: str, entry: str, args: ArchiveArguments) -> nn.Module:
    torch.manual_seed(args.seed)
    source = "local" if Path(place).is_dir() else "github"
    try:
        network = torch.hub.load(place, entry, source=source, trust_repo=True, **args.arguments)
    except Exception as error:
        remedy = "give a folder with hubconf.py" if source == "github" else "--arguments JSON gives its arguments"
        raise UsageError(f"torch.hub cannot load '{entry}' of {place} ({error_summary(error)}); {remedy}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"'{entry}' of {place} returns {type(network).__name__}, not a network")
    return network.eval()


@torch.no_grad()
def _with_one_output(network: nn.Module, spec: InputSpec, args: ArchiveArguments) -> nn.Module:
    """Return the network, or one that returns its logits only; raise ModelError if it has none."""
    try:
        output = network(torch.zeros(2, spec.channels, *spec.size))
    except Exception as error:
        raise ModelError(f"the network does not run on its input: {error_summary(error)}") from error
    if isinstance(output, Tensor):
        return network
    return ChosenOutput(network, find_logits(output, 2, args.logits))

"""State dicts from files (.pt, .pth and .safetensors) and from downloads."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.checkpoint import mappings_of, read_mappings
from torchserve_saliency.model.state_search import State
from torchserve_saliency_cli.archiving.arguments import UsageError

# torchvision's published DenseNet weights have names that Python modules may no longer have
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")


def read_weights(path: Path) -> dict[str, State]:
    """Return the mappings of names to tensors in a file, by their places in it; raise ModelError for none."""
    mappings = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_mappings(path)
    return {place: renamed(state) for place, state in mappings.items()}


def download(url: str) -> dict[str, State]:
    """Return the mappings of names to tensors of a torchvision weights URL, from the cache of torch.hub if it is there.

    Raise UsageError if it is neither there nor can be downloaded; the message names the missing file.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:
        problem = f"'{cached}' cannot be read" if cached.exists() else f"{url} cannot be downloaded"
        remedy = "delete it" if cached.exists() else f"put the file at '{cached}'"
        raise UsageError(f"{problem} ({type(error).__name__}: {error}); {remedy}, or give --weights a file") from error
    return {place: renamed(each) for place, each in mappings_of(state, cached.name).items()}


def renamed(state: State) -> State:
    """Return the state with the parameter names of old DenseNet files as they are now."""
    if not any(_OLD_DENSENET.search(key) for key in state):
        return state
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}


def _read_safetensors(path: Path) -> dict[str, State]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError(f"'{path.name}' needs the package safetensors, which is not installed") from error
    try:
        state: dict[str, Tensor] = load_file(path)
    except Exception as error:
        raise ModelError(f"'{path.name}' is no readable safetensors file: {error}") from error
    return mappings_of(state, path.name)

"""State dicts from the files that people have: .pt, .pth and .safetensors, on disk or in a download's cache."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor

from saliency.errors import ModelError
from saliency.weights import State, read_state, unwrapped
from scripts.archiving.arguments import UsageError

# torchvision's published DenseNet weights carry names that Python modules may not have any more
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")


def read_weights(path: Path) -> State:
    """Return the state dict in a file of any of the three kinds; ModelError says why it cannot be had."""
    state = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_state(path)
    return renamed(state)


def download(url: str) -> State:
    """Return the state dict of a torchvision weights URL, from the cache of torch.hub if it is there.

    UsageError where it can be had from neither, naming the file that would do.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        held = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:
        how = f"'{cached}' cannot be read" if cached.exists() else f"{url} cannot be downloaded"
        remedy = "delete it" if cached.exists() else f"put the file at '{cached}'"
        raise UsageError(f"{how} ({type(error).__name__}: {error}); {remedy}, or give --weights a file") from error
    return renamed(unwrapped(held, cached.name))


def renamed(state: State) -> State:
    """Return the state with the parameter names of old DenseNet files as they are today."""
    if not any(_OLD_DENSENET.search(key) for key in state):
        return state
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}


def _read_safetensors(path: Path) -> State:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError(f"'{path.name}' needs the package safetensors, which is not installed") from error
    try:
        held: dict[str, Tensor] = load_file(path)
    except Exception as error:
        raise ModelError(f"'{path.name}' is no safetensors file that can be read: {error}") from error
    return unwrapped(held, path.name)

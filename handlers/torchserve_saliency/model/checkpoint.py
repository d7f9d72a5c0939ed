"""State dicts read from files and loaded into networks; pickled code is never executed."""

from __future__ import annotations

# only an exception of pickle is used; files are read with weights_only
import pickle  # nosec B403
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError

State = dict[str, Tensor]
_WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "module")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


def read_state(path: Path) -> State:
    """Return the state dict of a .pt or .pth file, unwrapped, on the CPU. Raise ModelError for any other file."""
    if is_scripted(path):
        raise ModelError(
            f"'{path.name}' is a ScriptModule, not a state dict: "
            "archive it without --arch and --model-file, or archive the eager network with its state dict"
        )
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise ModelError(f"'{path.name}' is not a state dict that can be read safely: {_first_line(error)}") from error
    return unwrapped(loaded, path.name)


def unwrapped(checkpoint: object, name: str) -> State:
    """Return the state dict inside a checkpoint, without the prefixes of DataParallel and torch.compile.

    Raise ModelError, with the file's `name`, if the checkpoint contains no state dict.
    """
    while isinstance(checkpoint, Mapping) and not _all_tensors(checkpoint):
        inner = [checkpoint[key] for key in _WRAPPERS if isinstance(checkpoint.get(key), Mapping)]
        if not inner:
            break
        checkpoint = inner[0]
    if not isinstance(checkpoint, Mapping) or not checkpoint or not _all_tensors(checkpoint):
        raise ModelError(f"'{name}' contains no state dict (names and tensors), but {_description(checkpoint)}")
    return _without_prefixes(checkpoint)


def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load `state` into `network`. Raise ModelError, with the first mismatches, if names or shapes differ."""
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    reshaped = [key for key in own if key in state and own[key].shape != state[key].shape]
    mismatches = [
        *_listed("lack", missing),
        *_listed("also contain", unexpected),
        *_listed("differ in shape at", [_shape_mismatch(key, state, own) for key in reshaped]),
    ]
    if mismatches:
        raise ModelError(f"the weights do not fit the network: they {'; they '.join(mismatches)}")
    # _metadata holds the version of each module's layout; a file without it is assumed to be of the current version
    filled = OrderedDict(state)
    filled._metadata = getattr(state, "_metadata", None) or own._metadata  # type: ignore[attr-defined]
    network.load_state_dict(filled, strict=False)


def is_scripted(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive: a zip file that contains code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def _without_prefixes(tensors: Mapping[object, Tensor]) -> State:
    """Return a state dict without the prefixes that all names have; without such a prefix, the same object."""
    state: State = tensors if isinstance(tensors, dict) else {str(key): value for key, value in tensors.items()}
    for prefix in (*_PREFIXES, *_PREFIXES):
        if all(str(key).startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _all_tensors(mapping: Mapping[object, object]) -> TypeGuard[Mapping[object, Tensor]]:
    return all(isinstance(value, Tensor) for value in mapping.values())


def _description(checkpoint: object) -> str:
    if isinstance(checkpoint, Mapping):
        return f"a mapping with {', '.join(repr(key) for key in list(checkpoint)[:4]) or 'no entries'}"
    return f"a {type(checkpoint).__name__}"


def _listed(verb: str, names: list[str]) -> list[str]:
    """Return one phrase that lists the first three names, or an empty list for none."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{verb} {', '.join(names[:3])}{more}"] if names else []


def _shape_mismatch(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{key} ({list(state[key].shape)}, not {list(own[key].shape)})"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

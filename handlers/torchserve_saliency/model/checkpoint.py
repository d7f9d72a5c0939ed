"""State dicts read from files and loaded into networks; pickled code is never executed."""

from __future__ import annotations

# only an exception of pickle is used; files are read with weights_only
import pickle  # nosec B403
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_saliency.errors import ModelError, out_of_memory
from torchserve_saliency.model.inert_cleaning import PICKLED_MODULE
from torchserve_saliency.model.inert_pickle import rewritten
from torchserve_saliency.model.state_matching import largest_state
from torchserve_saliency.model.state_search import State, nested_mappings, state_mappings

_DAMAGED = "it is damaged, or torch.save did not write it"
_KINDS = {
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"\x08": "a file of ONNX, or damaged",
    b"{": "a text file in JSON",
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x93NUMPY": "an array of numpy",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file: fetch it by `git lfs pull`",
    b"<!DOCTYPE": "a web page: the download went wrong",
    b"<html": "a web page: the download went wrong",
}


def read_state(path: Path) -> State:
    """Return the state dict of a file, on the CPU: of several, the largest. Raise ModelError for any other file."""
    return largest_state(read_mappings(path))


def read_mappings(path: Path) -> dict[str, State]:
    """Return all mappings from names to tensors in a .pt, .pth or .ckpt file, by their places in it, on the CPU.

    Objects of other classes in the file are not read, and nothing of the file is run. Raise ModelError for a file
    without weights.
    """
    if is_scripted(path):
        raise ModelError(
            f"'{path.name}' is a ScriptModule, not a state dict: "
            "archive it without --arch and --model-file, or archive the eager network with its state dict"
        )
    return mappings_of(_loaded(path), path.name)


def mappings_of(checkpoint: object, name: str) -> dict[str, State]:
    """Return the mappings from names to tensors in a checkpoint; raise ModelError, with the file's `name`, for none."""
    if mappings := state_mappings(checkpoint):
        return mappings
    for place, mapping in nested_mappings(checkpoint):
        if PICKLED_MODULE in mapping:
            where = f" under '{place}'" if place else ""
            raise ModelError(
                f"'{name}' is not a state dict that can be read safely: a whole module was pickled{where} "
                f"({mapping[PICKLED_MODULE]}), and loading it would run code from the file; in the code that trained "
                f"it, save model.state_dict() instead: torch.save(model.state_dict(), '{name}')"
            )
    raise ModelError(f"'{name}' contains no state dict (names and tensors), but {_description(checkpoint)}")


def _loaded(path: Path) -> object:
    """Return the object in a file of `torch.save`, read directly or, if it holds foreign classes, without them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the protocol of the pickle
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if out_of_memory(error):
            raise
    try:
        with rewritten(path) as clean:
            content: Sequence[object] = torch.load(clean, map_location="cpu", weights_only=True)
            return content[0]
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = _kind(path) or (str(error) if isinstance(error, pickle.UnpicklingError) else _DAMAGED)
        if not reason.startswith("it "):  # a message of pickle itself
            reason = _DAMAGED
        raise ModelError(f"'{path.name}' is not a state dict that can be read safely: {_first_line(reason)}") from error


def _kind(path: Path) -> str | None:
    """Return the kind of a file that has nothing to do with PyTorch, or None if it is unknown."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "it is empty"
    kind = next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)
    if kind is None and start[8:9] == b"{":
        kind = "a safetensors file: give it the suffix .safetensors"
    return kind and f"it is {kind}"


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


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [_DAMAGED])[0][:200]

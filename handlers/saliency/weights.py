"""Weights from files into networks: state dicts only, never pickled code."""

from __future__ import annotations

# of pickle the name of an exception is needed; files are read with weights_only
import pickle  # nosec B403
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from saliency.errors import ModelError

State = dict[str, Tensor]
_WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "module")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


def read_state(path: Path) -> State:
    """Return the state dict in a .pt or .pth file, unwrapped, on the CPU; ModelError says why not."""
    if is_scripted(path):
        raise ModelError(
            f"'{path.name}' is a ScriptModule, which is a network of its own and no state dict: "
            "archive it by itself, or the eager network with its state dict"
        )
    try:
        held: object = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise ModelError(f"'{path.name}' is not a state dict that can be read safely: {_first_line(error)}") from error
    return unwrapped(held, path.name)


def unwrapped(held: object, name: str) -> State:
    """Return the state dict inside a checkpoint, without the prefixes of parallel or compiled training."""
    while isinstance(held, Mapping) and not _all_tensors(held):
        inner = [held[key] for key in _WRAPPERS if isinstance(held.get(key), Mapping)]
        if not inner:
            break
        held = inner[0]
    if not isinstance(held, Mapping) or not held or not _all_tensors(held):
        raise ModelError(f"'{name}' holds no state dict (names and tensors), but {_described(held)}")
    return _unprefixed(held)


def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put `state` into `network`, every name and shape matching; ModelError names the first that do not."""
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    reshaped = [key for key in own if key in state and own[key].shape != state[key].shape]
    wrongs = [
        *_named("lack", missing, missing),
        *_named("hold besides", unexpected, unexpected),
        *_named("have in another shape", reshaped, [_both_shapes(key, state, own) for key in reshaped]),
    ]
    if wrongs:
        raise ModelError(f"the weights do not fit the network: they {'; they '.join(wrongs)}")
    # versions of modules' layouts travel beside the tensors; a file without them is taken to be of today
    filled = OrderedDict(state)
    filled._metadata = getattr(state, "_metadata", None) or own._metadata  # type: ignore[attr-defined]
    network.load_state_dict(filled, strict=False)


def is_scripted(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive: a zip that holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def _unprefixed(held: Mapping[object, Tensor]) -> State:
    """Return a state dict without the prefixes that stand before every name; without any, it is itself."""
    state: State = held if isinstance(held, dict) else {str(key): value for key, value in held.items()}
    for prefix in (*_PREFIXES, *_PREFIXES):
        if all(str(key).startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _all_tensors(held: Mapping[object, object]) -> TypeGuard[Mapping[object, Tensor]]:
    return all(isinstance(value, Tensor) for value in held.values())


def _described(held: object) -> str:
    if isinstance(held, Mapping):
        return f"a mapping with {', '.join(repr(key) for key in list(held)[:4]) or 'nothing'}"
    return f"a {type(held).__name__}"


def _named(verb: str, keys: list[str], shown: list[str]) -> list[str]:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return [f"{verb} {', '.join(shown[:3])}{more}"] if keys else []


def _both_shapes(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{key} {list(state[key].shape)} for {list(own[key].shape)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

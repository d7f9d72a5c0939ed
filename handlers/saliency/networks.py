"""Networks from their names and files: torchvision's, timm's, and the user's own."""

from __future__ import annotations

import importlib.util
import inspect
import runpy
import sys
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torchvision import models

from saliency.errors import ModelError, said
from saliency.labels import near_matches
from saliency.weights import is_scripted

TIMM = "timm:"
_SLOW = ("googlenet", "inception_v3")


def torchvision_names() -> list[str]:
    """Return the names of torchvision's image classifiers; `quantized_…` ones are built as float networks."""
    return [*models.list_models(module=models), *models.list_models(module=models.quantization)]


def build_network(arch: str, arguments: Mapping[str, object], directory: Path | None = None) -> nn.Module:
    """Return the network that `arch` names, with torchvision's or (`timm:…`) timm's own initial weights.

    `arguments` go to its builder; `directory` is where an archive may hold its own copy of timm.
    """
    if arch.startswith(TIMM):
        return _timm_network(arch.removeprefix(TIMM), arguments, directory)
    names = torchvision_names()
    if arch.lower() not in names:
        raise ModelError(f"torchvision has no classifier '{arch}'{_meant(near_matches(arch, names))}")
    # the weights come from a file: initialising them first takes these two seconds, and a warning
    quiet = {"init_weights": False} if arch.lower().endswith(_SLOW) else {}
    return _built(models.get_model, arch, {"weights": None, **quiet, **arguments})


def own_network(path: Path) -> nn.Module:
    """Return an instance of the file's one class that is an nn.Module and takes no arguments."""
    module = _own_module(path)
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    networks = [c for c in classes if issubclass(c, nn.Module)]
    bare = [c for c in networks if _takes_nothing(c)]
    if len(bare) != 1:
        found = ", ".join(c.__name__ for c in (bare or networks)) or "none"
        wanted = "takes no arguments" if networks else "is an nn.Module"
        raise ModelError(f"'{path.name}' must define exactly one class that {wanted}, not {len(bare)}: {found}")
    return _built(bare[0], None, {})


def scripted_network(path: Path) -> nn.Module:
    """Return the network that a TorchScript file holds, on the CPU; ModelError says why it cannot be had."""
    if not is_scripted(path):
        raise ModelError(f"'{path.name}' is no TorchScript network, and nothing says which network it is of")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript goes out of use; its files do not
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise ModelError(f"'{path.name}' cannot be read as TorchScript: {said(error)}") from error
    return network


def hookable(network: nn.Module) -> bool:
    """Tell whether a network's modules and functions can be listened to: TorchScript's cannot."""
    return not isinstance(network, torch.jit.ScriptModule)


def _own_module(path: Path) -> ModuleType:
    """Return the file imported under a name of its own, so that two archives' files never meet."""
    name = f"saliency_network_{uuid.uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{path.name}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(f"'{path.name}' cannot be imported by itself: {error}") from error
    return module


def _takes_nothing(network: type[nn.Module]) -> bool:
    """Tell whether a class can be made without arguments."""
    parameters = inspect.signature(network).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _timm_network(name: str, arguments: Mapping[str, object], directory: Path | None) -> nn.Module:
    with timm_module(directory) as timm:
        if not timm.is_model(name):
            near = near_matches(name, timm.list_models())
            raise ModelError(f"timm {timm.__version__} has no network '{name}'{_meant(near)}")
        return _built(timm.create_model, name, arguments)


@contextmanager
def timm_module(directory: Path | None = None) -> Iterator[ModuleType]:
    """Give timm: an archive's own copy in `directory` where it holds one, else the installed one.

    The copy is gone from `sys.modules` afterwards, and what was there before is back; its networks live on.
    """
    version = directory / "timm" / "version.py" if directory else None
    if version is None or not version.is_file():
        yield _imported_timm()
        return
    loaded = _loaded_timm()
    if loaded and loaded["timm"].__version__ == runpy.run_path(str(version))["__version__"]:
        yield loaded["timm"]
        return
    _forget(loaded)
    sys.path.insert(0, str(directory))
    try:
        yield _imported_timm()
    finally:
        sys.path.remove(str(directory))
        _forget(_loaded_timm())
        sys.modules.update(loaded)


def _loaded_timm() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "timm"}


def _forget(modules: Mapping[str, ModuleType]) -> None:
    for name in modules:
        del sys.modules[name]


def _imported_timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(f"the network is timm's, and timm cannot be imported: {error}") from error


def _built(builder: Any, name: str | None, arguments: Mapping[str, object]) -> nn.Module:
    """Return what a builder makes; ModelError where it cannot, or makes no network."""
    try:
        network = builder(**arguments) if name is None else builder(name, **arguments)
    except Exception as error:
        shown = name or builder.__name__
        raise ModelError(f"'{shown}' cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module) or not hookable(network):
        raise ModelError(f"'{name or builder.__name__}' is a {type(network).__name__}, not an eager nn.Module")
    return network


def _meant(near: list[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""

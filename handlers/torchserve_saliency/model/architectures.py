"""Construction of networks: by name from torchvision or timm, or from a user's Python or TorchScript file."""

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

from torchserve_saliency.errors import ModelError, error_summary
from torchserve_saliency.model.checkpoint import is_scripted
from torchserve_saliency.model.labels import near_matches

TIMM = "timm:"
_SLOW_INITIALISATION = ("googlenet", "inception_v3")


def torchvision_names() -> list[str]:
    """Return the names of torchvision's image classifiers; those named `quantized_…` are built as float networks."""
    return [*models.list_models(module=models), *models.list_models(module=models.quantization)]


def build_network(arch: str, arguments: Mapping[str, object], directory: Path | None = None) -> nn.Module:
    """Return the network named `arch` of torchvision, or of timm after the prefix `timm:`, with initial weights.

    `arguments` are passed to the library's function. A copy of timm in `directory` is preferred. Raise
    ModelError if the name is unknown or the network cannot be built.
    """
    if arch.startswith(TIMM):
        return _timm_network(arch.removeprefix(TIMM), arguments, directory)
    names = torchvision_names()
    if arch.lower() not in names:
        raise ModelError(f"torchvision has no classifier '{arch}'{_suggestion(near_matches(arch, names))}")
    # initial weights are replaced by those of a file; for these two, creating them takes seconds and logs a warning
    options = {"init_weights": False} if arch.lower().endswith(_SLOW_INITIALISATION) else {}
    return _build(models.get_model, arch, {"weights": None, **options, **arguments})


def network_from_file(path: Path) -> nn.Module:
    """Return an instance of the only nn.Module class without required arguments in a Python file.

    Raise ModelError if the file cannot be imported or does not define exactly one such class.
    """
    module = _import_file(path)
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    networks = [c for c in classes if issubclass(c, nn.Module)]
    buildable = [c for c in networks if _has_no_required_arguments(c)]
    if len(buildable) != 1:
        found = ", ".join(c.__name__ for c in (buildable or networks)) or "none"
        condition = "takes no arguments" if networks else "is an nn.Module"
        raise ModelError(f"'{path.name}' must define exactly one class that {condition}, not {len(buildable)}: {found}")
    return _build(buildable[0], None, {})


def scripted_network(path: Path) -> nn.Module:
    """Return the network of a TorchScript file, on the CPU; raise ModelError for any other file."""
    if not is_scripted(path):
        raise ModelError(f"'{path.name}' is no TorchScript network; a state dict needs 'arch' or a model file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but its files are still in use
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise ModelError(f"'{path.name}' cannot be read as TorchScript: {error_summary(error)}") from error
    return network


def hookable(network: nn.Module) -> bool:
    """Tell whether hooks and function modes work on a network; they do not on TorchScript."""
    return not isinstance(network, torch.jit.ScriptModule)


def _import_file(path: Path) -> ModuleType:
    """Return a file imported under a unique name, so that files of two archives with one name do not collide."""
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


def _has_no_required_arguments(network: type[nn.Module]) -> bool:
    parameters = inspect.signature(network).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _timm_network(name: str, arguments: Mapping[str, object], directory: Path | None) -> nn.Module:
    with timm_module(directory) as timm:
        if not timm.is_model(name):
            near = near_matches(name, timm.list_models())
            raise ModelError(f"timm {timm.__version__} has no network '{name}'{_suggestion(near)}")
        return _build(timm.create_model, name, arguments)


@contextmanager
def timm_module(directory: Path | None = None) -> Iterator[ModuleType]:
    """Yield timm: the copy in the archive's folder `directory`, if any, else the installed version.

    Afterwards the copy is removed from `sys.modules`, and modules of timm that were there before are restored. Networks
    built from the copy keep working.
    """
    version = directory / "timm" / "version.py" if directory else None
    if version is None or not version.is_file():
        yield _import_timm()
        return
    loaded = _loaded_timm()
    if loaded and loaded["timm"].__version__ == runpy.run_path(str(version))["__version__"]:
        yield loaded["timm"]
        return
    _unload(loaded)
    sys.path.insert(0, str(directory))
    try:
        yield _import_timm()
    finally:
        sys.path.remove(str(directory))
        _unload(_loaded_timm())
        sys.modules.update(loaded)


def _loaded_timm() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "timm"}


def _unload(modules: Mapping[str, ModuleType]) -> None:
    for name in modules:
        del sys.modules[name]


def _import_timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(f"the network needs timm, which cannot be imported: {error}") from error


def _build(builder: Any, name: str | None, arguments: Mapping[str, object]) -> nn.Module:
    """Return the network that `builder` builds. Raise ModelError if it fails or returns no eager network."""
    try:
        network = builder(**arguments) if name is None else builder(name, **arguments)
    except Exception as error:
        raise ModelError(f"'{name or builder.__name__}' cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module) or not hookable(network):
        raise ModelError(f"'{name or builder.__name__}' is a {type(network).__name__}, not an eager nn.Module")
    return network


def _suggestion(near: list[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""

"""Construction of networks: by name from torchvision or timm, or from a TorchScript file."""

from __future__ import annotations

import importlib
import runpy
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torchvision import models

from torchserve_saliency.errors import ModelError, error_summary
from torchserve_saliency.model.building import build, hookable, suggestion
from torchserve_saliency.model.checkpoint import is_scripted
from torchserve_saliency.model.labels import near_matches

__all__ = ["TIMM", "build_network", "hookable", "scripted_network", "timm_module", "torchvision_names"]

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
        raise ModelError(f"torchvision has no classifier '{arch}'{suggestion(near_matches(arch, names))}")
    # initial weights are replaced by those of a file; for these two, creating them takes seconds and logs a warning
    options = {"init_weights": False} if arch.lower().endswith(_SLOW_INITIALISATION) else {}
    return build(models.get_model, arch, {"weights": None, **options, **arguments})


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


def _timm_network(name: str, arguments: Mapping[str, object], directory: Path | None) -> nn.Module:
    with timm_module(directory) as timm:
        if not timm.is_model(name):
            near = near_matches(name, timm.list_models())
            raise ModelError(f"timm {timm.__version__} has no network '{name}'{suggestion(near)}")
        return build(timm.create_model, name, arguments)


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

"""A client of TorchServe's explanations route: it sends pictures with options, and returns their explanations.

The names are imported when they are used: the commands that only send plain requests do not load PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchserve_saliency_cli.client.async_client import AsyncClient
    from torchserve_saliency_cli.client.client import Client
    from torchserve_saliency_cli.client.errors import RefusedError, UnreachableError

__all__ = ["AsyncClient", "Client", "RefusedError", "UnreachableError"]

_MODULES = {"AsyncClient": "async_client", "Client": "client", "RefusedError": "errors", "UnreachableError": "errors"}


def __getattr__(name: str) -> object:
    """Return a public name of the package, imported on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

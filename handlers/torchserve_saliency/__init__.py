"""Saliency for image classifiers: predictions and attribution maps from one forward pass.

`from torchserve_saliency import Explainer, Client`: an explainer of networks in this process, and a client of a server.
The names are imported when they are used, so that a worker that imports the package does not load them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchserve_saliency.client import AsyncClient, Client
    from torchserve_saliency.errors import RequestError
    from torchserve_saliency.explainer import Explainer

__all__ = ["AsyncClient", "Client", "Explainer", "RequestError"]

_MODULES = {"AsyncClient": "client", "Client": "client", "Explainer": "explainer", "RequestError": "errors"}


def __getattr__(name: str) -> object:
    """Return a public name of the package, imported on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the names of the module, with those that are imported on first use."""
    return sorted([*globals(), *__all__])

"""The client of a server, for `from torchserve_saliency.client import Client`.

It is part of the commands, which `pip install .` installs next to the engine. An archive has only the engine, so a
server never imports this module.
"""

from __future__ import annotations

try:
    from torchserve_saliency_cli.client import AsyncClient, Client, RefusedError, UnreachableError
except ImportError as error:  # pragma: no cover
    raise ImportError(f"the client needs the commands and httpx, which `pip install .` installs: {error}") from error

__all__ = ["AsyncClient", "Client", "RefusedError", "UnreachableError"]

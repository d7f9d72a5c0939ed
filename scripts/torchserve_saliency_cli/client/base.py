"""The arguments that the client and its asynchronous form have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from torchserve_saliency.images.picture_kinds import PictureLike
from torchserve_saliency_cli.client.exchange import Connection
from torchserve_saliency_cli.client.transport import trusted

CONNECT_SECONDS = 10.0


class BaseClient:
    """The address and the settings of a server's client."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        key_file: str | os.PathLike[str] | None = None,
        timeout: float = 150,
        retries: int = 3,
        proxy: str | None = None,
    ) -> None:
        """Set the address of the server, such as http://127.0.0.1:8080; raise ValueError for an invalid one.

        - `token`: the inference token. `key_file`: TorchServe's key file instead, which is read for each request, as
          the server renews its tokens.
        - `timeout`: seconds to wait for an answer. `retries`: how often a request is sent again after status 503 or a
          broken connection.
        - `proxy`: the address of a proxy. The proxies of the environment are not used.
        """
        self._connection = Connection(url, token, None if key_file is None else Path(key_file), timeout, retries)
        self._settings: dict[str, Any] = {
            "verify": trusted(),
            "timeout": httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            "trust_env": False,
            "proxy": proxy,
        }
        self._open()

    def _open(self) -> None:
        """Make the client of HTTP, which opens connections when they are needed."""
        raise NotImplementedError


def several(pictures: Iterable[PictureLike]) -> Iterable[PictureLike]:
    """Return the pictures; raise TypeError for a single one."""
    if isinstance(pictures, str | bytes | bytearray | os.PathLike | Image.Image):
        raise TypeError("explain_many takes a list of pictures; use explain for one")
    return pictures

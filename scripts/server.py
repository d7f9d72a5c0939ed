"""A TorchServe of one's own: free loopback ports, private folders, and gone without a trace when it is left.

    with TorchServe(Path("model_store")) as server:
        server.request("POST", "/predictions/leaves", body=picture)
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import quote

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.java import find_java
from scripts.wire import Body, Reply, send

CONFIG = ROOT / "config.properties"
TOKENS = {"inference": "inference", "management": "management", "token": "API"}
PORTS = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")
TokenKind = Literal["inference", "management", "API"]


class ServerError(RuntimeError):
    """TorchServe did not start, or did not load its models; the message ends with its log's tail."""


class TorchServe:
    """A running TorchServe, from `start` (or `with`) to `stop`.

    It serves the archives of `model_store`, with the settings of the repository's config.properties but for the
    addresses, and for `settings`, which are TorchServe's own properties by name. `authorize` asks for tokens.
    With `ports` it takes these (in the order of PORTS) instead of free ones.
    """

    def __init__(
        self,
        model_store: Path,
        settings: Mapping[str, str] | None = None,
        authorize: bool = False,
        ports: tuple[int, int, int, int, int] | None = None,
        timeout: float = 180,
    ) -> None:
        self.model_store = model_store.resolve()
        self.settings = dict(settings or {})
        self.authorize = authorize
        self.ports = ports
        self.timeout = timeout
        self._resources = ExitStack()

    def __enter__(self) -> TorchServe:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

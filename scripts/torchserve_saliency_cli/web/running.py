"""The page's server as a process: its socket, its start and its end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp


class PortError(RuntimeError):
    """The server cannot listen on the port that was asked for."""


@dataclass(frozen=True)
class Listener:
    """A socket that listens on an address; port 0 takes a free one."""

    socket: socket.socket
    address: str
    port: int

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}/"


def listen(address: str, port: int) -> Listener:
    """Return a socket that listens on an address and a port; raise PortError if that is not possible."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise PortError(f"the page cannot listen on {address}:{port} ({error}); --port 0 takes a free port") from error
    return Listener(listening, address, listening.getsockname()[1])


def run(app: ASGIApp, listener: Listener, started: Callable[[], None]) -> None:
    """Serve until the process is interrupted; call `started` as soon as the server answers."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=2)
    Server(config).run(sockets=[listener.socket])

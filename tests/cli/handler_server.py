"""A small HTTP server with the real handler behind it, in place of TorchServe, which records its requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from saliency_handler import SaliencyHandler
from tools.zoo.in_process_server import Context
from torchserve_saliency.explainer import Explainer


@dataclass
class Recorded:
    """A request: its path, its headers, and the fields of its form."""

    path: str
    headers: Message
    fields: dict[str, bytes]


class HandlerServer(ThreadingHTTPServer):
    """Answers every POST by the handler, unless `first` still holds an answer: a status, headers and a body."""

    daemon_threads = True

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.handler = SaliencyHandler()
        self.handler.explainer = explainer
        self.lock = threading.Lock()
        self.requests: list[Recorded] = []
        self.first: list[tuple[int, Mapping[str, str], bytes] | None] = []
        self.busy = self.most_busy = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _RequestHandler(BaseHTTPRequestHandler):
    server: HandlerServer

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fields = _fields(self.headers["Content-Type"], body)
        with server.lock:
            server.busy += 1
            server.most_busy = max(server.busy, server.most_busy)
            server.requests.append(Recorded(self.path, self.headers, fields))
            first = server.first.pop(0) if server.first else ()
        answer = first if first is None else first or self._handled(fields)
        with server.lock:
            server.busy -= 1  # before the reply, since a client may send its next request as soon as it has it
        if answer is None:
            self.close_connection = True
            self.connection.close()  # without a reply
        else:
            self._reply(*answer)

    def _handled(self, fields: dict[str, bytes]) -> tuple[int, Mapping[str, str], bytes]:
        context: Any = Context({}, {})
        with self.server.lock, torch.inference_mode(False):
            (body,) = self.server.handler.handle([dict(fields)], context)
        return context.status, context.headers, body

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def _fields(content_type: str, body: bytes) -> dict[str, bytes]:
    """Return the fields of a form, or any other body as the field `body`."""
    if not content_type.startswith("multipart/"):
        return {"body": body}
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    parts = [part for part in message.get_payload() if isinstance(part, Message)]
    return {
        str(part.get_param("name", header="Content-Disposition")): bytes(part.get_payload(decode=True))
        for part in parts
    }


@contextmanager
def handler_server(explainer: Explainer) -> Iterator[HandlerServer]:
    """Yield a running server with an explainer, and stop it."""
    with HandlerServer(explainer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

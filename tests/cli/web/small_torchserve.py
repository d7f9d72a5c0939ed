"""A small HTTP server in place of both addresses of a TorchServe, with fixed answers, which records its requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DESCRIPTION = {"methods": {"gradient": {"parameters": {}}}, "label_names": ["cat", "dog"]}
TOKENS = {"inference": "inference-secret", "management": "management-secret"}


@dataclass(frozen=True)
class Recorded:
    """A request: its method, its path, its token, and its body."""

    method: str
    path: str
    authorization: str | None
    body: bytes


class SmallTorchServe(ThreadingHTTPServer):
    """Answers by method and path with a status and a body; any other request with TorchServe's 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.requests: list[Recorded] = []
        self.answers: dict[tuple[str, str], tuple[int, object]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve_model(self, quoted: str, versions: list[str], default: str, description: object = DESCRIPTION) -> None:
        """Answer for the versions of a model whose name, as in a path, is `quoted`."""
        entries = [{"modelVersion": version} for version in versions]
        self.answers["GET", f"/models/{quoted}/all"] = (200, entries)
        self.answers["GET", f"/models/{quoted}"] = (200, [{"modelVersion": default}])
        for version in versions:
            entry = {"modelVersion": version, "customizedMetadata": description}
            self.answers["GET", f"/models/{quoted}/{version}?customized=true"] = (200, [entry])

    def list_models(self, names: list[str], token: str = "0", following: str | None = None) -> None:
        """Answer for one page of the list of models."""
        page: dict[str, object] = {"models": [{"modelName": name} for name in names]}
        page |= {} if following is None else {"nextPageToken": following}
        self.answers["GET", f"/models?limit=100&next_page_token={token}"] = (200, page)


class _RequestHandler(BaseHTTPRequestHandler):
    server: SmallTorchServe

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(Recorded(self.command, self.path, self.headers["Authorization"], body))
        unknown = {"code": 404, "type": "ResourceNotFoundException", "message": "Requested resource is not found"}
        status, answer = self.server.answers.get((self.command, self.path), (404, unknown))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def small_torchserve() -> Iterator[SmallTorchServe]:
    """Yield a running server, and stop it."""
    with SmallTorchServe() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def write_key_file(folder: Path, tokens: dict[str, str] = TOKENS) -> Path:
    """Write a key file of TorchServe, and return its path."""
    path = folder / "key_file.json"
    path.write_text(json.dumps({name: {"key": token} for name, token in tokens.items()}))
    return path

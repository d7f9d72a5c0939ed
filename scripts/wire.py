"""HTTP to a TorchServe with the standard library alone: one request, one reply."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

Body = bytes | str | None


@dataclass(frozen=True)
class Part:
    """One part of a form: a field, or a file where `filename` is given."""

    name: str
    value: bytes | str
    filename: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came back: the status, the headers (case-insensitive), and the whole body."""

    status: int
    headers: Message
    body: bytes

    @property
    def content_type(self) -> str:
        """Return the media type without its parameters, or an empty text where none was sent."""
        return str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    def json(self) -> object:
        """Return the body read as JSON; ValueError where it is none."""
        return json.loads(self.body)


def send(
    url: str,
    method: str = "GET",
    body: Body = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    timeout: float = 150,
) -> Reply:
    """Return the server's reply, whatever its status; OSError or HTTPException where there is none."""
    where = urlsplit(url)
    connect = HTTPSConnection if where.scheme == "https" else HTTPConnection
    path = where.path + (f"?{where.query}" if where.query else "")
    said = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    connection = connect(where.hostname or "", where.port, timeout=timeout)
    try:
        connection.request(method, path or "/", body, said)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def form(parts: Iterable[Part]) -> tuple[bytes, str]:
    """Return a multipart/form-data body and its Content-Type."""
    boundary = secrets.token_hex(16)
    lines: list[bytes] = []
    for part in parts:
        value = part.value.encode() if isinstance(part.value, str) else part.value
        lines += [f"--{boundary}\r\n{_head(part)}\r\n\r\n".encode(), value, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _head(part: Part) -> str:
    head = f'Content-Disposition: form-data; name="{_quoted(part.name)}"'
    if part.filename is None:
        return head
    return f'{head}; filename="{_quoted(part.filename)}"\r\nContent-Type: application/octet-stream'


def _quoted(text: str) -> str:
    """Return the text as browsers write it between quotes."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")

"""HTTP requests to a TorchServe, and multipart forms."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import httpx

Body = bytes | str | None
_FILE_TYPE = "application/octet-stream"


class NoReplyError(ConnectionError):
    """No reply came from the server: the connection was refused or broken, or the time ran out."""


@dataclass(frozen=True)
class Part:
    """One part of a form: a file if `filename` is given, else a field."""

    name: str
    value: bytes | str
    filename: str | None = None


@dataclass(frozen=True)
class Reply:
    """The server's reply: status, headers (names are case-insensitive) and whole body."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def content_type(self) -> str:
        """Return the media type without its parameters, or an empty text without one."""
        return str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    def json(self) -> object:
        """Return the body parsed as JSON; raise ValueError for any other body."""
        return json.loads(self.body)


def send(
    url: str,
    method: str = "GET",
    body: Body = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    timeout: float = 150,
) -> Reply:
    """Return the server's reply, of any status; raise NoReplyError if there is none.

    Each request has its own connection. It carries the given headers, the token if there is one, and nothing else
    that the server could react to. Redirects are not followed, and the proxies of the environment are not used.
    """
    own = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with httpx.Client(verify=trusted(), timeout=timeout, trust_env=False) as client:
            answer = client.send(httpx.Request(method, url, content=body, headers=own))
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise NoReplyError(str(error) or type(error).__name__) from error
    return Reply(answer.status_code, answer.headers, answer.content)


@cache
def trusted() -> ssl.SSLContext:
    """Return a TLS context with the certificates that the system trusts."""
    return ssl.create_default_context()


def form(parts: Iterable[Part]) -> tuple[bytes, str]:
    """Return a multipart/form-data body and its Content-Type."""
    files = [(part.name, _content(part)) for part in parts]
    if not files:  # httpx makes no form of nothing
        return b"--empty--\r\n", "multipart/form-data; boundary=empty"
    request = httpx.Request("POST", "http://form", files=files)
    return request.read(), request.headers["Content-Type"]


def _content(part: Part) -> tuple[str | None, bytes] | tuple[str | None, bytes, str]:
    """Return the file name, the bytes and, for a file, the media type of a part, as httpx takes them."""
    value = part.value.encode() if isinstance(part.value, str) else part.value
    return (None, value) if part.filename is None else (part.filename, value, _FILE_TYPE)

"""A hostile request: the row that TorchServe passes to a handler, its HTTP form, and the allowed statuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

from torchserve_saliency_cli.client.transport import Part, form

REFUSALS = frozenset({400, 406, 413, 415, 422})
STATUSES = frozenset({200, 507}) | REFUSALS  # every status of the contract except 500, which is a bug
EXPLAIN: Mapping[str, object] = MappingProxyType({"explain": "True", "url_path": ""})
PREDICT: Mapping[str, object] = MappingProxyType({"explain": "False", "url_path": ""})


@dataclass(frozen=True)
class Entry:
    """One request of the corpus: its fields and headers as a handler receives them, and the allowed statuses."""

    name: str
    fields: Mapping[str, object]
    statuses: frozenset[int]
    headers: Mapping[str, object] = field(default_factory=lambda: EXPLAIN)


@dataclass(frozen=True)
class HttpRequest:
    """A request as it is sent over HTTP. `options` is the end of the path, after the model's name and version."""

    verb: str
    options: str
    headers: Mapping[str, str]
    body: bytes


def http_request(entry: Entry) -> HttpRequest | None:
    """Return an entry as a client sends it, or None if HTTP or JSON cannot express it."""
    verb = "explanations" if entry.headers.get("explain") == "True" else "predictions"
    own = {k: v for k, v in entry.headers.items() if k not in EXPLAIN and isinstance(v, str)}
    if not all(text.isascii() and text.isprintable() for pair in own.items() for text in pair):
        return None
    options = quote(str(entry.headers.get("url_path", "")), safe="=&?/", errors="replace")
    encoded = _encode(entry.fields)
    return encoded and HttpRequest(verb, options, encoded[1] | own, encoded[0])


def _encode(fields: Mapping[str, object]) -> tuple[bytes, dict[str, str]] | None:
    """Return the body and its headers: raw bytes, JSON or a form. Return None if no format fits the fields."""
    body = fields.get("body")
    if len(fields) == 1 and isinstance(body, bytes | bytearray):
        return bytes(body), {"Content-Type": "application/octet-stream"}
    if len(fields) == 1 and "body" in fields and not isinstance(body, str):
        return _json(body)
    if all(isinstance(value, bytes | bytearray) for value in fields.values()) and all(map(_is_plain, fields)):
        parts = [Part(k, bytes(v), "x" if k in ("data", "body") else None) for k, v in fields.items()]  # type: ignore[call-overload]
        encoded, content_type = form(parts)
        return encoded, {"Content-Type": content_type}
    return None


def _json(value: object) -> tuple[bytes, dict[str, str]] | None:
    try:
        return json.dumps(value).encode(), {"Content-Type": "application/json"}
    except (TypeError, ValueError, RecursionError):
        return None


def _is_plain(name: str) -> bool:
    return bool(name) and name.isascii() and name.isprintable()

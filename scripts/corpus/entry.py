"""A hostile request: the row as TorchServe hands it over, as it is sent, and the statuses that may answer it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

from scripts.wire import Part, form

REFUSALS = frozenset({400, 406, 413, 415, 422})
STATUSES = frozenset({200, 507}) | REFUSALS  # those of the contract, but for the 500 of a defect
EXPLAIN: Mapping[str, object] = MappingProxyType({"explain": "True", "url_path": ""})
PREDICT: Mapping[str, object] = MappingProxyType({"explain": "False", "url_path": ""})


@dataclass(frozen=True)
class Entry:
    """One request of the corpus: its fields and headers, as a handler gets them, and the statuses it may have."""

    name: str
    fields: Mapping[str, object]
    statuses: frozenset[int]
    headers: Mapping[str, object] = field(default_factory=lambda: EXPLAIN)


@dataclass(frozen=True)
class Sent:
    """A request as it goes over HTTP: the path behind `/explanations/…` or `/predictions/…`, headers and body."""

    verb: str
    options: str
    headers: Mapping[str, str]
    body: bytes


def sent(entry: Entry) -> Sent | None:
    """Return an entry as a client sends it, None where HTTP or JSON cannot carry it."""
    verb = "explanations" if entry.headers.get("explain") == "True" else "predictions"
    own = {k: v for k, v in entry.headers.items() if k not in EXPLAIN and isinstance(v, str)}
    if not all(text.isascii() and text.isprintable() for pair in own.items() for text in pair):
        return None
    options = quote(str(entry.headers.get("url_path", "")), safe="=&?/", errors="replace")
    packed = _packed(entry.fields)
    return packed and Sent(verb, options, packed[1] | own, packed[0])


def _packed(fields: Mapping[str, object]) -> tuple[bytes, dict[str, str]] | None:
    """Return a body and its headers: JSON, raw bytes or a form."""
    body = fields.get("body")
    if len(fields) == 1 and isinstance(body, bytes | bytearray):
        return bytes(body), {"Content-Type": "application/octet-stream"}
    if len(fields) == 1 and "body" in fields and not isinstance(body, str):
        return _json(body)
    if all(isinstance(value, bytes | bytearray) for value in fields.values()) and all(map(_is_plain, fields)):
        parts = [Part(k, bytes(v), "x" if k in ("data", "body") else None) for k, v in fields.items()]  # type: ignore[call-overload]
        packed, content_type = form(parts)
        return packed, {"Content-Type": content_type}
    return None


def _json(value: object) -> tuple[bytes, dict[str, str]] | None:
    try:
        return json.dumps(value).encode(), {"Content-Type": "application/json"}
    except (TypeError, ValueError, RecursionError):
        return None


def _is_plain(name: str) -> bool:
    return bool(name) and name.isascii() and name.isprintable()

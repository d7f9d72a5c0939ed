"""Check a response against the rules that the contract sets for every response, valid or not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

LONGEST_MESSAGE = 2_000
ERROR_KEYS = ({"code", "type", "message"}, {"code", "type", "message", "option"})
CODES = frozenset({400, 406, 413, 415, 422, 500, 503, 504, 507})
KSERVE_KEYS = ({"explanations"}, {"predictions"})  # the key of a KServe v1 response
LEAK = re.compile(r"Traceback|File \"|\.py\b|/(?:home|tmp|usr|opt|work|root|etc)/| at 0x[0-9a-f]+")


def faults(status: int, body: bytes, headers: Mapping[str, str], max_bytes: int) -> list[str]:
    """Return a description of each fault of a response; the list is empty if the response keeps the contract."""
    found = [f"header {name} holds a control character" for name, v in headers.items() if not v.isprintable()]
    found += [f"header {name} is not ASCII" for name, v in headers.items() if not v.isascii()]
    found += [f"a body of {len(body):,} bytes"] if len(body) > max_bytes else []
    kinds = [value for name, value in headers.items() if name.lower() == "content-type"]
    found += [] if len(kinds) == 1 else [f"{len(kinds)} headers Content-Type"]
    if status != 200:
        return [*found, *error_faults(status, body)]
    return [*found, *_entry_faults(body)] if kinds == ["application/json"] else found


def _entry_faults(body: bytes) -> Iterator[str]:
    """Yield the faults of the error entries in a response with status 200."""
    parsed = json.loads(body)
    entries = next(iter(parsed.values())) if isinstance(parsed, dict) and set(parsed) in KSERVE_KEYS else []
    failed = [entry for entry in entries if isinstance(entry, dict) and "code" in entry]
    if entries and len(failed) == len(entries):
        yield "status 200, and every entry is an error"
    for entry in failed:
        yield from _object_faults(entry)


def error_faults(status: int, body: bytes) -> Iterator[str]:
    """Yield the faults of an error's body: one error object, or a KServe v1 body with one error object per instance."""
    try:
        parsed = json.loads(body)
    except ValueError:
        yield "an error that is not JSON"
        return
    entries = parsed.popitem()[1] if isinstance(parsed, dict) and set(parsed) in KSERVE_KEYS else [parsed]
    if not isinstance(entries, list) or not entries:
        yield "no error objects"
        return
    if isinstance(entries[0], dict) and entries[0].get("code") != status:
        yield f"code {entries[0].get('code')} under status {status}"
    for entry in entries:
        yield from _object_faults(entry)


def _object_faults(entry: object) -> Iterator[str]:
    """Yield the faults of an error object."""
    if not isinstance(entry, dict) or set(entry) not in ERROR_KEYS:
        yield "an error object with other keys"
        return
    if entry["code"] not in CODES:
        yield f"code {entry['code']}"
    if not all(isinstance(value, str) for key, value in entry.items() if key != "code"):
        yield "a value that is not a string"
    if not 0 < len(str(entry["message"])) < LONGEST_MESSAGE:
        yield f"a message of {len(str(entry['message']))} characters"
    if leak := LEAK.search(str(entry["message"])):
        yield f"a message that contains {leak[0]!r}"

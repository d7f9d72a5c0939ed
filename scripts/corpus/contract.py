"""What the contract asks of every answer, whatever was sent: the faults of one, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

LONGEST_MESSAGE = 2_000
ERROR_KEYS = ({"code", "type", "message"}, {"code", "type", "message", "option"})
CODES = frozenset({400, 406, 413, 415, 422, 500, 507})
KSERVE_KEYS = ({"explanations"}, {"predictions"})  # of an answer of which every entry is an error
LEAK = re.compile(r"Traceback|File \"|\.py\b|/(?:home|tmp|usr|opt|work|root|etc)/| at 0x[0-9a-f]+")


def faults(status: int, body: bytes, headers: Mapping[str, str], max_bytes: int) -> list[str]:
    """Return what is wrong with an answer, nothing where it keeps the contract."""
    wrong = [f"header {name} holds a control character" for name, v in headers.items() if not v.isprintable()]
    wrong += [f"header {name} is not ASCII" for name, v in headers.items() if not v.isascii()]
    wrong += [f"a body of {len(body):,} bytes"] if len(body) > max_bytes else []
    kinds = [value for name, value in headers.items() if name.lower() == "content-type"]
    wrong += [] if len(kinds) == 1 else [f"{len(kinds)} headers Content-Type"]
    if status != 200:
        return [*wrong, *error_faults(status, body)]
    return [*wrong, *_entry_faults(body)] if kinds == ["application/json"] else wrong


def _entry_faults(body: bytes) -> Iterator[str]:
    """Yield what is wrong with the entries that are errors in an answer under status 200."""
    said = json.loads(body)
    entries = next(iter(said.values())) if isinstance(said, dict) and set(said) in KSERVE_KEYS else []
    failed = [entry for entry in entries if isinstance(entry, dict) and "code" in entry]
    if entries and len(failed) == len(entries):
        yield "status 200, and every entry is an error"
    for entry in failed:
        yield from _object_faults(entry)


def error_faults(status: int, body: bytes) -> Iterator[str]:
    """Yield what is wrong with an error's body: an error object, or those of all the instances of KServe's v1."""
    try:
        said = json.loads(body)
    except ValueError:
        yield "an error that is no JSON"
        return
    entries = said.popitem()[1] if isinstance(said, dict) and set(said) in KSERVE_KEYS else [said]
    if not isinstance(entries, list) or not entries:
        yield "no error objects"
        return
    if isinstance(entries[0], dict) and entries[0].get("code") != status:
        yield f"code {entries[0].get('code')} under status {status}"
    for entry in entries:
        yield from _object_faults(entry)


def _object_faults(said: object) -> Iterator[str]:
    """Yield what is wrong with an error object."""
    if not isinstance(said, dict) or set(said) not in ERROR_KEYS:
        yield "an error object with other keys"
        return
    if said["code"] not in CODES:
        yield f"code {said['code']}"
    if not all(isinstance(value, str) for key, value in said.items() if key != "code"):
        yield "a value that is no text"
    if not 0 < len(str(said["message"])) < LONGEST_MESSAGE:
        yield f"a message of {len(str(said['message']))} characters"
    if leak := LEAK.search(str(said["message"])):
        yield f"a message that holds {leak[0]!r}"

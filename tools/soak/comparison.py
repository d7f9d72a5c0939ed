"""Compare a reply under load with the reference reply, which the server gave to the same request without load."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import NoReturn

import numpy as np
from PIL import Image

from torchserve_saliency_cli.client.transport import Reply

# Tolerances: rounding depends on the batch that a request is in.
MEAN_LEVELS = 1  # mean difference of two pictures, of 255 levels
MAX_LEVELS, MAX_SHARE = 16, 0.01  # this share of the pixels may differ by more levels: colour maps amplify rounding
METADATA = "Saliency-Metadata"  # the header that holds the metadata of an array
TOLERANCE = 1e-4  # relative to the maximum of the map


def faults(expected: Reply, reply: Reply) -> list[str]:
    """Return the differences between a reply and the reference; none if they are equal up to rounding."""
    return _collect(_faults(expected, reply))


def unreadable(reply: Reply) -> list[str]:
    """Return the reasons why a reply cannot be compared with others."""
    return _collect(_bodies(reply, reply))


def _collect(found: Iterator[str]) -> list[str]:
    """Return all faults. An exception while comparing is a fault too: the reply cannot be read."""
    try:
        return list(found)
    except Exception as error:
        return [f"cannot be read: {type(error).__name__}: {error}"]


def _faults(expected: Reply, reply: Reply) -> Iterator[str]:
    if (reply.status, reply.content_type) != (expected.status, expected.content_type):
        difference = f"{reply.status} {reply.content_type}, expected {expected.status} {expected.content_type}"
        yield f"{difference}: {reply.body[:200]!r}"
        return
    yield from _headers(expected.headers.get(METADATA), reply.headers.get(METADATA))
    if reply.body != expected.body:
        yield from _bodies(expected, reply)


def _bodies(expected: Reply, reply: Reply) -> Iterator[str]:
    """Yield the differences between two bodies of the same type."""
    if reply.content_type == "application/x-npy":
        yield from _arrays(expected.body, reply.body)
    elif reply.content_type == "image/png":
        yield from _pictures(expected.body, reply.body, "the picture")
    else:
        yield from _values(_parse(expected.body), _parse(reply.body), "answer")


def _headers(expected: str | None, found: str | None) -> Iterator[str]:
    """Yield the differences between two metadata headers; one of them may be missing."""
    if expected is not None and found is not None:
        yield from _values(_parse(expected), _parse(found), METADATA)
    elif expected != found:
        yield f"{METADATA} is {str(found)[:80]}, expected {str(expected)[:80]}"


def _parse(text: bytes | str) -> object:
    """Return the value of a JSON text. Raise ValueError if it is invalid or contains NaN or infinity."""
    return json.loads(text, parse_constant=_reject_constant)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _arrays(expected: bytes, found: bytes) -> Iterator[str]:
    one, other = np.load(io.BytesIO(expected)), np.load(io.BytesIO(found))
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        yield f"a map {other.dtype} {other.shape}, expected {one.dtype} {one.shape}"
    elif not np.isfinite(other).all():
        yield "a map with values that are not finite"
    elif not (difference := float(np.abs(one - other).max())) <= TOLERANCE * float(np.abs(one).max()):
        yield f"a map that differs by {difference:.2g}"


def _pictures(expected: bytes, found: bytes, path: str) -> Iterator[str]:
    one, other = (Image.open(io.BytesIO(data)) for data in (expected, found))
    if (one.mode, one.size) != (other.mode, other.size):
        yield f"{path} {other.mode} {other.size}, expected {one.mode} {one.size}"
        return
    difference = np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int))
    difference = difference.reshape(one.height, one.width, -1)
    if (mean := float(difference.mean())) > MEAN_LEVELS:
        yield f"{path} differs by {mean:.1f} levels on average"
    if (share := float((difference.max(axis=2) > MAX_LEVELS).mean())) > MAX_SHARE:
        yield f"{path} differs by more than {MAX_LEVELS} levels in {share:.1%} of the pixels"


def _values(expected: object, found: object, path: str) -> Iterator[str]:
    """Yield the differences between two JSON values, apart from rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        yield from _objects(expected, found, path)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _lists(expected, found, path)
    elif _is_real(expected) and _is_real(found) and float in (type(expected), type(found)):
        yield from _numbers([expected], [found], path)
    elif isinstance(expected, str) and isinstance(found, str):
        yield from _texts(expected, found, path)
    elif expected != found:
        yield f"{path} is {str(found)[:80]}, expected {str(expected)[:80]}"


def _objects(expected: dict[str, object], found: dict[str, object], path: str) -> Iterator[str]:
    """Yield the differences between two objects. The version of the model is not compared, a fault may change it."""
    if expected.keys() != found.keys():
        yield f"{path} has {sorted(found)}, expected {sorted(expected)}"
        return
    for name in sorted(expected.keys() - {"version", "model_version"}):
        yield from _values(expected[name], found[name], f"{path}.{name}")


def _lists(expected: list[object], found: list[object], path: str) -> Iterator[str]:
    if len(expected) != len(found):
        yield f"{path} has {len(found)} entries, expected {len(expected)}"
    elif any(isinstance(value, float) for value in expected) and all(map(_is_real, (*expected, *found))):
        yield from _numbers(expected, found, path)
    else:
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _values(one, other, f"{path}[{index}]")


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(expected: list[object], found: list[object], path: str) -> Iterator[str]:
    one, other = np.array(expected, float), np.array(found, float)
    if not np.allclose(one, other, rtol=1e-3, atol=max(1e-5, TOLERANCE * float(np.abs(one).max()))):
        yield f"{path} is {float(np.abs(one - other).max()):.2g} off"


def _texts(expected: str, found: str, path: str) -> Iterator[str]:
    """Yield the differences between two strings: base64 pictures, JSON or plain text."""
    if expected == found:
        return
    if path.endswith(".data"):
        yield from _pictures(base64.b64decode(expected), base64.b64decode(found), path)
    elif not _is_same_json(expected, found):
        yield f"{path} is {found[:80]}, expected {expected[:80]}"


def _is_same_json(expected: str, found: str) -> bool:
    """Return whether two strings are JSON with equal values, apart from rounding."""
    try:
        return not list(_values(_parse(expected), _parse(found), "it"))
    except ValueError:
        return False

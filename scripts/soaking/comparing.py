"""Whether an answer is the one that the same request was given alone."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import numpy as np
from PIL import Image

from scripts.wire import Reply

LEVELS = 4  # of 255: what rounding in other batches may move a pixel by
SHARE = 1e-4  # of the map's maximum


def faults(expected: Reply, reply: Reply) -> list[str]:
    """Return what is wrong with a reply, in words; nothing where it says the same but for rounding."""
    if (reply.status, reply.content_type) != (expected.status, expected.content_type):
        said = f"{reply.status} {reply.content_type} for {expected.status} {expected.content_type}"
        return [f"{said}: {reply.body[:200]!r}"]
    if reply.content_type == "application/x-npy":
        return list(_arrays(expected.body, reply.body))
    if reply.content_type == "image/png":
        return list(_pictures(expected.body, reply.body, "the picture"))
    return list(_values(json.loads(expected.body), json.loads(reply.body), "answer"))


def _arrays(expected: bytes, found: bytes) -> Iterator[str]:
    one, other = np.load(io.BytesIO(expected)), np.load(io.BytesIO(found))
    if one.shape != other.shape:
        yield f"a map {other.shape} for {one.shape}"
    elif (apart := float(np.abs(one - other).max())) > SHARE * float(np.abs(one).max()):
        yield f"a map that is {apart:.2g} apart"


def _pictures(expected: bytes, found: bytes, where: str) -> Iterator[str]:
    one, other = (np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in (expected, found))
    if one.shape != other.shape:
        yield f"{where} {other.shape} for {one.shape}"
    elif (apart := float(np.abs(one - other).mean())) > LEVELS:
        yield f"{where} is {apart:.1f} levels apart"


def _values(expected: object, found: object, where: str) -> Iterator[str]:
    """Yield where two JSON values differ by more than rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        yield from _objects(expected, found, where)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _lists(expected, found, where)
    elif _is_real(expected) and _is_real(found):
        yield from _numbers([expected], [found], where)
    elif isinstance(expected, str) and isinstance(found, str):
        yield from _texts(expected, found, where)
    elif expected != found:
        yield f"{where} is {str(found)[:80]} for {str(expected)[:80]}"


def _objects(expected: dict[str, object], found: dict[str, object], where: str) -> Iterator[str]:
    """Yield where two objects differ; the version of the model may have moved on."""
    if expected.keys() != found.keys():
        yield f"{where} has {sorted(found)} for {sorted(expected)}"
        return
    for name in sorted(expected.keys() - {"version", "model_version"}):
        yield from _values(expected[name], found[name], f"{where}.{name}")


def _lists(expected: list[object], found: list[object], where: str) -> Iterator[str]:
    if len(expected) != len(found):
        yield f"{where} has {len(found)} entries for {len(expected)}"
    elif any(isinstance(value, float) for value in expected) and all(map(_is_real, (*expected, *found))):
        yield from _numbers(expected, found, where)
    else:
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _values(one, other, f"{where}[{index}]")


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(expected: list[object], found: list[object], where: str) -> Iterator[str]:
    one, other = np.array(expected, float), np.array(found, float)
    if not np.allclose(one, other, rtol=1e-3, atol=max(1e-5, SHARE * float(np.abs(one).max()))):
        yield f"{where} is {float(np.abs(one - other).max()):.2g} apart"


def _texts(expected: str, found: str, where: str) -> Iterator[str]:
    """Yield where two texts differ: pictures as base64, JSON in a text, or plain words."""
    if expected == found:
        return
    if where.endswith(".data"):
        yield from _pictures(base64.b64decode(expected), base64.b64decode(found), where)
    elif not _is_told(expected, found):
        yield f"{where} is {found[:80]} for {expected[:80]}"


def _is_told(expected: str, found: str) -> bool:
    """Tell whether two texts are JSON that says the same but for rounding."""
    try:
        return not list(_values(json.loads(expected), json.loads(found), "it"))
    except ValueError:
        return False

"""Whether an answer is the one that the same request was given alone."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import NoReturn

import numpy as np
from PIL import Image

from scripts.wire import Reply

LEVELS = 1  # of 255: what rounding in other batches may move a pixel by, as the mean over a picture
FAR, FEW = 16, 0.01  # by more levels than these, no larger share of the pixels: colour maps widen a step of rounding
METADATA = "Saliency-Metadata"  # the header with all that an array does not say
SHARE = 1e-4  # of the map's maximum


def faults(expected: Reply, reply: Reply) -> list[str]:
    """Return what is wrong with a reply, in words; nothing where it says the same but for rounding."""
    return _told(_faults(expected, reply))


def unreadable(reply: Reply) -> list[str]:
    """Return what keeps a reply from being compared with others, in words."""
    return _told(_bodies(reply, reply))


def _told(found: Iterator[str]) -> list[str]:
    """Return all faults; what is raised on the way to them is one, whatever it is."""
    try:
        return list(found)
    except Exception as error:
        return [f"cannot be read: {type(error).__name__}: {error}"]


def _faults(expected: Reply, reply: Reply) -> Iterator[str]:
    if (reply.status, reply.content_type) != (expected.status, expected.content_type):
        said = f"{reply.status} {reply.content_type} for {expected.status} {expected.content_type}"
        yield f"{said}: {reply.body[:200]!r}"
        return
    yield from _headers(expected.headers.get(METADATA), reply.headers.get(METADATA))
    if reply.body != expected.body:
        yield from _bodies(expected, reply)


def _bodies(expected: Reply, reply: Reply) -> Iterator[str]:
    """Yield where two bodies of one type differ."""
    if reply.content_type == "application/x-npy":
        yield from _arrays(expected.body, reply.body)
    elif reply.content_type == "image/png":
        yield from _pictures(expected.body, reply.body, "the picture")
    else:
        yield from _values(_read(expected.body), _read(reply.body), "answer")


def _headers(expected: str | None, found: str | None) -> Iterator[str]:
    """Yield where the header with what an array does not say differs, or stands on one side alone."""
    if expected is not None and found is not None:
        yield from _values(_read(expected), _read(found), METADATA)
    elif expected != found:
        yield f"{METADATA} is {str(found)[:80]} for {str(expected)[:80]}"


def _read(text: bytes | str) -> object:
    """Return a value out of JSON; ValueError where it is none, or holds what is no number."""
    return json.loads(text, parse_constant=_not_finite)


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _arrays(expected: bytes, found: bytes) -> Iterator[str]:
    one, other = np.load(io.BytesIO(expected)), np.load(io.BytesIO(found))
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        yield f"a map {other.dtype} {other.shape} for {one.dtype} {one.shape}"
    elif not np.isfinite(other).all():
        yield "a map with values that are not finite"
    elif not (apart := float(np.abs(one - other).max())) <= SHARE * float(np.abs(one).max()):
        yield f"a map that is {apart:.2g} apart"


def _pictures(expected: bytes, found: bytes, where: str) -> Iterator[str]:
    one, other = (Image.open(io.BytesIO(data)) for data in (expected, found))
    if (one.mode, one.size) != (other.mode, other.size):
        yield f"{where} {other.mode} {other.size} for {one.mode} {one.size}"
        return
    apart = np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int))
    apart = apart.reshape(one.height, one.width, -1)
    if (mean := float(apart.mean())) > LEVELS:
        yield f"{where} is {mean:.1f} levels apart"
    if (share := float((apart.max(axis=2) > FAR).mean())) > FEW:
        yield f"{where} is more than {FAR} levels apart in {share:.1%} of the pixels"


def _values(expected: object, found: object, where: str) -> Iterator[str]:
    """Yield where two JSON values differ by more than rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        yield from _objects(expected, found, where)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _lists(expected, found, where)
    elif _is_real(expected) and _is_real(found) and float in (type(expected), type(found)):
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
        return not list(_values(_read(expected), _read(found), "it"))
    except ValueError:
        return False

"""Wrong values for every option and every method parameter. Names come from the tables, so new ones are covered."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tools.corpus.entry import PREDICT, REFUSALS, STATUSES, Entry
from tools.corpus.pictures import saved, scene
from torchserve_saliency.methods import METHODS
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS

LONG = "x" * 5_000
# JSON values that are invalid for every option; as the name of a label or a layer, they are unknown
WRONG: Mapping[str, object] = MappingProxyType(
    {
        "object": {"a": {"b": [1]}},
        "nested list": [[[[]]]],
        "empty list": [],
        "long list": [0] * 101,
        "empty": "",
        "NaN": float("nan"),
        "infinity": float("inf"),
        "huge integer": 10**400,
        "huge float": 1.7e308,
        "long text": LONG,
        "controls": "\0\x01\r\nSet-Cookie: a=b\x1b[31m\x7f\x85\u2028",
        "surrogate": "\ud800\udfff\ud800",
        "right to left": "\u202eevil\u202c\ufeff",
        "format string": "{0.__class__} %s %n ${x}",
        "path": "../../../../../var/secret",
    }
)
# JSON values that are valid for some options
EITHER: Mapping[str, object] = MappingProxyType(
    {
        "null": None,
        "true": True,
        "negative": -1,
        "zero": 0,
        "fraction": 0.5,
        "spaces": "  ",
        "digits of another script": "\u0661\u0662",
        "keyword": "runner_up",
    }
)
BYTES: Mapping[str, bytes] = MappingProxyType(
    {
        "not UTF-8": b"\xff\xfe\x80",
        "NUL": b"a\0b",
        "CR LF": b"1\r\nX-Injected: yes",
        "broken list": b"[1, 2",
        "deep list": b"[" * 50_000,
        "list with NaN": b"[NaN]",
        "digits": b"9" * 5_000,
    }
)


def wrong_values() -> Iterator[Entry]:
    """Yield requests in which one option has an invalid value, as JSON and as a form field."""
    picture = saved(scene(), "PNG") or b""
    for name in (*OPTIONS, *PARAMETERS):
        fields = {"data": base64.b64encode(picture).decode()} | _method_with(name)
        for kind, value in WRONG.items():
            yield Entry(f"{name} is {kind}", {"body": fields | {name: value}}, REFUSALS)
        for kind, value in EITHER.items():
            yield Entry(f"{name} is {kind}", {"body": fields | _without_maps(name) | {name: value}}, STATUSES)
        form = {"data": picture, **{key: value.encode() for key, value in _method_with(name).items()}}
        for kind, raw in BYTES.items():
            yield Entry(f"{name} is {kind} in a form", form | {name: raw}, REFUSALS)


def _method_with(name: str) -> dict[str, str]:
    """Return the first method that has a parameter; return nothing if the name is a general option."""
    return {"method": min(PARAMETERS[name])} if name in PARAMETERS else {}


def _without_maps(name: str) -> dict[str, str]:
    """Return an option that skips the saliency maps, which makes a successful request cheap."""
    return {} if name in ("render", "format") else {"render": "none"}


def misplaced() -> Iterator[Entry]:
    """Yield requests with options that do not exist, do not fit the method or contradict each other."""
    picture = saved(scene(), "PNG") or b""
    for name in ("tarqet", "__class__", "self", "", "\0", "a\r\nb", "\ud800", "é" * 3_000, "data ", "DATA", "Target!"):
        yield Entry(f"no option {name[:12]!r}", {"data": picture, name: b"1"}, REFUSALS)
    for method in METHODS:
        foreign = min((name for name in PARAMETERS if method not in PARAMETERS[name]), default="nothing")
        yield Entry(
            f"{foreign} of {method}", {"data": picture, "method": method.encode(), foreign: b"1"}, frozenset({400, 422})
        )
        yield Entry(
            f"{method} on a prediction", {"data": picture, "method": method.encode()}, frozenset({400}), PREDICT
        )
    yield Entry("thousands of options", {"data": picture} | {f"o{i}": b"1" for i in range(5_000)}, REFUSALS)
    yield Entry("data and body", {"data": picture, "body": picture}, frozenset({400}))
    yield Entry("render and format", {"data": picture, "render": b"none", "format": b"png"}, frozenset({400}))

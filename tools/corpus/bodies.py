"""Invalid request bodies: wrong JSON, invalid base64, invalid KServe envelopes."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tools.corpus.entry import EXPLAIN, PREDICT, REFUSALS, STATUSES, Entry
from tools.corpus.pictures import saved, scene

Headers = Mapping[str, object]
DEEP = 2_000


def _deep(depth: int) -> object:
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


TEXT = base64.b64encode(saved(scene(), "PNG") or b"").decode()
PARSED: Mapping[str, object] = MappingProxyType(  # JSON bodies after TorchServe has parsed them
    {
        "null": None,
        "true": True,
        "number": 3,
        "NaN": float("nan"),
        "text": "data",
        "surrogate": "\ud800",
        "list": [1],
        "list of requests": [{"data": TEXT}],
        "empty object": {},
        "deep list": _deep(DEEP),
        "data is deep": {"data": _deep(DEEP)},
        "data is null": {"data": None},
        "data is a number": {"data": 7},
        "data is a list": {"data": [137, 80, 78, 71]},
        "data is empty": {"data": ""},
        "b64 of nothing": {"data": {"b64": None}},
        "b64 in b64": {"data": {"b64": {"b64": TEXT}}},
        "b64 and more": {"data": {"b64": TEXT, "x": 1}},
        "base64 cut short": {"data": TEXT[:-3]},
        "base64 for URLs": {"data": "_-_-" + TEXT},
        "base64 of other scripts": {"data": "日本" + TEXT},
        "base64 with NUL": {"data": TEXT[:8] + "\0" + TEXT[8:]},
        "base64 of padding": {"data": "=" * 400},
        "base64 of a surrogate": {"data": "\udcff"},
        "data URL of nothing": {"data": "data:"},
        "data URL without base64": {"data": "data:image/png,%89PNG"},
        "file URL": {"data": "file:///etc/passwd"},
        "web address": {"data": "http://127.0.0.1:1/x.png"},
        "body in body": {"body": {"body": TEXT}},
        "keys without end": {"data": TEXT, "k" * 20_000: 1},
        "many keys": {f"k{i}": i for i in range(20_000)},
        "wide list": {"data": TEXT, "target": list(range(100_000))},
        "b64 list as target": {"data": TEXT, "target": [TEXT]},
    }
)
RAW: Mapping[str, bytes] = MappingProxyType(  # bodies with the content type of JSON that cannot be parsed
    {
        "nothing": b"",
        "half": b'{"data": ',
        "no JSON": b"\x89PNG\r\n",
        "too deep": b"[" * 100_000,
        "objects too deep": b'{"a":' * 100_000,
        "UTF-16": '{"data": "x"}'.encode("utf-16"),
        "byte order mark": b'\xef\xbb\xbf{"data": "x"}',
        "huge number": b'{"data": 1' + b"0" * 5_000 + b"}",
        "comma too many": b'{"data": "x",}',
        "two values": b"{}{}",
        "duplicate fields": b'{"data": "x", "data": "y", "target": 1, "target": 2}',
        "lone surrogate": b'{"data": "\\ud800"}',
        "NaN": b'{"data": "x", "alpha": NaN}',
        "infinity": b'{"data": "x", "alpha": -Infinity}',
    }
)
KSERVE: Mapping[str, object] = MappingProxyType(  # bodies of protocols v1 and v2, each with one error
    {
        "instances is null": {"instances": None},
        "instances is empty": {"instances": []},
        "instances is an object": {"instances": {"data": TEXT}},
        "instances of numbers": {"instances": [1, 2]},
        "instances of nothing": {"instances": [{}]},
        "instances in instances": {"instances": [{"instances": [{"data": TEXT}]}]},
        "instances beside data": {"instances": [{"data": TEXT}], "data": TEXT},
        "inputs is null": {"inputs": None},
        "inputs is empty": {"inputs": []},
        "inputs without data": {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES"}]},
        "inputs of no type": {"inputs": [{"name": "x", "shape": [1], "data": [TEXT]}]},
        "inputs of another type": {"inputs": [{"name": "x", "shape": [1], "datatype": "FP8", "data": [1]}]},
        "shape too large": {"inputs": [{"name": "x", "shape": [10**9] * 4, "datatype": "FP32", "data": [0.0]}]},
        "shape negative": {"inputs": [{"name": "x", "shape": [-1, 3], "datatype": "UINT8", "data": [1]}]},
        "shape of texts": {"inputs": [{"name": "x", "shape": ["a"], "datatype": "UINT8", "data": [1]}]},
        "values out of range": {
            "inputs": [{"name": "x", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [256, -1, 1e99]}]
        },
        "values not finite": {
            "inputs": [{"name": "x", "shape": [1, 3, 1, 1], "datatype": "FP32", "data": [float("nan")] * 3}]
        },
        "parameters is a list": {
            "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [TEXT]}],
            "parameters": [1],
        },
        "id is an object": {"id": {}, "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["&"]}]},
    }
)


def bodies() -> Iterator[Entry]:
    """Yield every body twice: as a request for an explanation and for a prediction."""
    for route, headers in (("explain", EXPLAIN), ("predict", PREDICT)):
        for name, value in PARSED.items():
            statuses = frozenset({200}) if name == "list of requests" else REFUSALS
            yield Entry(f"JSON {name}, {route}", {"body": value}, statuses, headers)
        for name, value in KSERVE.items():
            yield Entry(f"KServe {name}, {route}", {"body": value}, STATUSES, headers)
        for name, raw in RAW.items():
            yield Entry(f"called JSON: {name}, {route}", {"body": bytearray(raw)}, REFUSALS, _as_json(headers))
    yield Entry("empty form", {}, frozenset({400}))
    yield Entry("text body", {"body": "hello"}, REFUSALS)
    yield Entry("text body of base64", {"body": TEXT}, frozenset({200}))
    yield Entry("empty file", {"data": b""}, frozenset({400}))
    yield Entry("data is a memoryview", {"data": memoryview(b"x")}, REFUSALS)


def _as_json(headers: Headers) -> Headers:
    """Return the headers of a JSON body, with an unusual capitalisation that HTTP allows."""
    return {**headers, "CONTENT-type": "Application/JSON; charset=utf-8"}

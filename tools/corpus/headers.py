"""Invalid or misleading headers and paths, in requests with a valid picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tools.corpus.entry import EXPLAIN, PREDICT, STATUSES, Entry
from tools.corpus.pictures import saved, scene

GOOD = frozenset({200})
BAD = frozenset({400})
FORGED = (
    {"Describe": "True", "describe": "True"},
    {"DESCRIBE": "True"},
    {"Explain": "True"},
    {"EXPLAIN": "False"},
    {"Url_Path": "target=99999"},
    {"URL_PATH": "method=none"},
    {"X-Forwarded-For": "\r\n\r\nHTTP/1.1 200 OK"},
    {"body": {"content-type": "image/png"}, "data": {"content-type": "application/json"}},
    {"": ""},
    {"content-length": "-1"},
)
ACCEPTS: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        "*/*": GOOD,
        "": GOOD,
        ",,,": GOOD,
        "image/png;q=nan, application/json;q=0.1": GOOD,
        "application/json;q=1e999": GOOD,
        "text/html": frozenset({406}),
        "image/png;q=0": frozenset({406}),
        "application/json;q=-5": frozenset({406}),
        ";;;=;q": frozenset({406}),
        "image/*;" + "a=b;" * 5_000: GOOD,
        "text/x," * 20_000: frozenset({406}),
        "\x00\r\n": STATUSES,
        "applicatİon/json": frozenset({406}),
    }
)
CONTENT_TYPES = ("", "image/png", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "\0", "é")
PATHS: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        "/": GOOD,
        "?": GOOD,
        "&": BAD,
        "=": BAD,
        "=1": BAD,
        "target": BAD,
        "target=1&target=2": BAD,
        "data=aGVsbG8": BAD,
        "body=x": BAD,
        "explain=false": BAD,
        "target=%00": STATUSES,
        "target=\0": STATUSES,
        "target=\r\nX-A: b": STATUSES,
        "../../../etc/passwd": BAD,
        "target=" + "9" * 9_000: frozenset({400, 422}),
        "&".join(["target=1"] * 500): BAD,
        "method=grad_cam&layer=\ud800": frozenset({400, 422}),
        "target=[[[[": BAD,
        "target=++++": BAD,
        "seed=1": BAD,
    }
)


def forged() -> Iterator[Entry]:
    """Yield the requests."""
    picture = saved(scene(), "PNG") or b""
    for route in (EXPLAIN, PREDICT):
        for headers in FORGED:
            name = f"forged {next(iter(headers))!r}, explain {route['explain']}"
            yield Entry(name, {"body": picture}, GOOD, {**headers, **route})
    for accept, statuses in ACCEPTS.items():
        yield Entry(f"Accept {accept[:30]!r}", {"body": picture}, statuses, {**EXPLAIN, "ACCEPT": accept})
    for content_type in CONTENT_TYPES:
        typed = {**EXPLAIN, "Content-Type": content_type}
        yield Entry(f"Content-Type {content_type!r}", {"body": bytearray(picture)}, GOOD, typed)
    json_headers = {**EXPLAIN, "Content-Type": "application/json"}
    yield Entry("picture called JSON", {"body": bytearray(picture)}, GOOD, json_headers)
    for path, statuses in PATHS.items():
        yield Entry(f"path {path[:30]!r}", {"body": picture}, statuses, {**EXPLAIN, "url_path": path})

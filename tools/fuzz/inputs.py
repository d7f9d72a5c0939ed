"""The binary format of fuzzed requests. A fuzz input is one byte of flags, two lines (path options, Accept), a body."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tools.corpus import entries, files
from tools.corpus.entry import EXPLAIN
from tools.corpus.pictures import saved, scene
from torchserve_saliency.methods import METHODS
from torchserve_saliency.protocols.dispatch import PROTOCOLS
from torchserve_saliency.requests.message import Message


class InputFlag(enum.IntFlag):
    """The bits of a fuzz input's first byte."""

    JSON = 1  # the Content-Type is application/json
    TEXT = 2  # the Content-Type is text/plain; with JSON set as well, image/png
    EXPLAIN = 4  # a request for an explanation, not for a prediction
    BINARY = 8  # KServe v2 with binary tensors; the second line holds the length of the JSON part
    FORM = 16  # the body holds form fields `name=value`, separated by NUL
    PICTURE = 32  # a `data` field with a picture is added to the body


CONTENT_TYPE = InputFlag.JSON | InputFlag.TEXT
CONTENT_TYPES: Mapping[InputFlag, str] = MappingProxyType(
    {
        InputFlag(0): "",
        InputFlag.JSON: "application/json",
        InputFlag.TEXT: "text/plain",
        CONTENT_TYPE: "image/png",
    }
)
PICTURE = saved(scene(), "PNG")


def message(data: bytes) -> Message:
    """Return the request message that a fuzz input encodes. Any bytes are a valid input."""
    flags, rest = InputFlag(data[0] if data else 0), data[1:]
    path, accept, body = (*rest.split(b"\n", 2), b"", b"", b"")[:3]
    path_options, accepted = path.decode("utf-8", "surrogateescape"), accept.decode("latin-1")
    explain = InputFlag.EXPLAIN in flags
    if InputFlag.BINARY in flags:
        return Message({"body": bytearray(body)}, explain=explain, json_length=accepted)
    return Message(_fields(flags, body), CONTENT_TYPES[flags & CONTENT_TYPE], accepted, path_options, explain)


def _fields(flags: InputFlag, body: bytes) -> Mapping[str, object]:
    """Return the row that TorchServe would pass to the handler: form fields, a parsed JSON body or raw bytes."""
    if InputFlag.FORM in flags:
        parts = (part.partition(b"=") for part in body.split(b"\0") if part)
        form: dict[str, object] = {name.decode("utf-8", "surrogateescape"): value for name, _, value in parts}
        return {"data": PICTURE, **form} if InputFlag.PICTURE in flags else form
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {"body": bytearray(body)}
    if InputFlag.PICTURE in flags and isinstance(parsed, dict):
        parsed = {"data": {"b64": ""}, **parsed}
    return {"body": parsed}


def image_seeds() -> Iterator[bytes]:
    """Yield the pictures of the corpus."""
    for _, data, _ in files():
        yield data


def request_seeds() -> Iterator[bytes]:
    """Yield the requests of the corpus, one request per method, and requests with binary tensors."""
    for entry in entries():
        route = InputFlag.EXPLAIN if entry.headers.get("explain") == "True" else InputFlag(0)
        path = str(entry.headers.get("url_path", EXPLAIN["url_path"])).replace("\n", " ")
        lines = f"{path}\n{entry.headers.get('ACCEPT', '')}\n".encode(errors="replace")
        for flags, body in _bodies(entry.fields):
            yield bytes([route | flags]) + lines + body
    flags = InputFlag.EXPLAIN | InputFlag.FORM | InputFlag.PICTURE
    for name in METHODS:
        yield bytes([flags]) + f"method={name}&target=cat\nimage/png;q=0.5, */*\n".encode()
    yield from _binary_seeds()


def _binary_seeds() -> Iterator[bytes]:
    """Yield KServe v2 requests whose tensors follow their JSON part in binary form."""
    picture = saved(scene((4, 2)), "PNG") or b""
    element = len(picture).to_bytes(4, "little") + picture
    for datatype, shape, data in (("BYTES", [1], element), ("UINT8", [1, 2, 4, 3], bytes(24)), ("FP32", [1], bytes(4))):
        tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        yield bytes([InputFlag.EXPLAIN | InputFlag.BINARY]) + b"\n%d\n" % len(head) + head + data


def _bodies(fields: Mapping[str, object]) -> Iterator[tuple[InputFlag, bytes]]:
    """Yield a row's fields, without the picture, as a body and its flags. Yield nothing if no format fits them."""
    options = {name: value for name, value in fields.items() if name != "data"}
    body = options.get("body")
    if isinstance(body, bytes | bytearray):
        yield InputFlag.JSON, bytes(body)
    elif isinstance(body, dict):
        flags = InputFlag(0) if PROTOCOLS.keys() & body.keys() else InputFlag.PICTURE
        try:
            yield flags, json.dumps({name: value for name, value in body.items() if name != "data"}).encode()
        except RecursionError:
            return
    elif all(isinstance(value, bytes | bytearray) for value in options.values()):
        parts = [b"%b=%b" % (name.encode(errors="replace"), bytes(value)) for name, value in options.items()]  # type: ignore[call-overload]
        yield InputFlag.FORM | InputFlag.PICTURE, b"\0".join(parts)

"""What came over the wire, taken apart: the picture as it was sent, and the options by name."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from saliency.errors import RequestError, bad_option
from saliency.options import OPTIONS, PARAMETERS

DATA = ("data", "body")


@dataclass(frozen=True)
class Message:
    """One request as TorchServe hands it over: its fields, and what its route and headers say.

    `json_length` is what KServe's header says of a body that has binary data behind its JSON; `pictures` is how many
    share the request's limits.
    """

    fields: Mapping[str, object]
    content_type: str = ""
    accept: str = ""
    path_options: str = ""
    explain: bool = False
    json_length: str = ""
    pictures: int = 1


def gathered(message: Message) -> tuple[object, dict[str, object]]:
    """Return the picture, None where none was sent, and the options, both as they came."""
    fields = dict(message.fields)
    body = fields.get("body")
    if "body" in fields and len(fields) == 1 and not isinstance(body, bytes | bytearray | str):
        fields = _json_fields(body)
    elif len(fields) == 1 and "json" in message.content_type.lower():
        fields = _json_fields(parsed(body))
    options = _path_options(message.path_options)
    named = [name for name in DATA if name in fields]
    for name, value in fields.items():
        if name in named:
            continue
        if name in options:
            raise bad_option(name, f"'{name}' is given twice, in the path and in the body")
        options[name] = _text(name, value)
    if len(named) > 1:
        raise bad_option("data", "both 'data' and 'body' are given")
    return (fields[named[0]] if named else None), options


def _json_fields(value: object) -> dict[str, object]:
    """Return the fields of a JSON body."""
    if not isinstance(value, dict):
        raise RequestError(400, "MalformedRequestException", "the JSON body must be an object with 'data'")
    return {str(name): field for name, field in value.items()}


def parsed(body: object) -> object:
    """Return a body that calls itself JSON and was not parsed on the way here; it is malformed, or says why not."""
    try:
        text = bytes(body) if isinstance(body, bytes | bytearray) else str(body)
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(400, "MalformedRequestException", f"the body is not valid JSON{where}") from None


def _path_options(query: str) -> dict[str, object]:
    """Return the options written in the path as a query string, which TorchServe has decoded but for `+`."""
    options: dict[str, object] = {}
    for part in query.strip("?/").split("&") if query.strip("?/") else ():
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise RequestError(400, "BadOptionException", "options in the path must read name=value&name=value")
        if name in options or name in DATA:
            raise bad_option(name, f"'{name}' is given twice" if name in options else f"'{name}' cannot be in the path")
        options[name] = _text(name, value.replace("+", " "))
    return options


def _text(name: str, value: object) -> object:
    """Return an option as text or as JSON gave it; a list written in a form field is read as JSON."""
    if isinstance(value, bytes | bytearray):
        try:
            value = bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise bad_option(name, f"'{name}' is not UTF-8 text") from None
    if name in (OPTIONS.keys() | PARAMETERS.keys()) and isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise bad_option(name, f"'{name}' is not a valid JSON list") from None
    return value


def picture_bytes(data: object) -> bytes:
    """Return the picture's bytes from a raw field, base64 text, a data URL, or `{"b64": …}`."""
    if data is None:
        raise bad_option("data", "no 'data': no picture was sent")
    if isinstance(data, dict) and set(data) == {"b64"}:
        data = data["b64"]
    if isinstance(data, bytes | bytearray):
        if not data:
            raise bad_option("data", "'data' is empty")
        return bytes(data)
    if not isinstance(data, str) or not data:
        raise bad_option("data", "'data' must be a picture, or base64 text of one, or {\"b64\": …}")
    text = data.partition(",")[2] if data.startswith("data:") else data
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise bad_option("data", "'data' is not valid base64") from None

"""A request's fields, split into the picture and the options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.images.preprocessing import InputSpec, Picture, decode, prepare, preprocessed
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS, option_name
from torchserve_saliency.requests.picture_data import NO_TEXT, file_bytes, is_picture
from torchserve_saliency.schema import shown

DATA = ("data", "body")  # the names under which a picture is sent


@dataclass(frozen=True)
class Message:
    """A request for one picture, as it arrived: its fields, and the facts from its route and headers.

    `fields` holds the picture and the options; from TorchServe, the single field `body` may still be JSON.
    `path_options` is a query string. `explain` is true on the explanations route. `json_length` is the header that
    KServe sends if binary data follows the JSON of a body. `pictures` is the number of pictures that share the limits
    of one request.
    """

    fields: Mapping[str, object]
    content_type: str = ""
    accept: str = ""
    path_options: str = ""
    explain: bool = False
    json_length: str = ""
    pictures: int = 1


def split_fields(message: Message) -> tuple[object, dict[str, object]]:
    """Return the picture as it was sent, or None if there is none, and the options by name, not yet read.

    A field that is no option is the picture if its name or its value says so, and if no other field is one.
    """
    options = _path_options(message.path_options)
    data: dict[str, object] = {}
    for name, value in message.fields.items():
        known = name if name in DATA else option_name(name)
        if name in DATA or (known is None and is_picture(name, value)):
            data[name] = value
            continue
        known = known or name
        if known in options:
            raise bad_option(known, f"'{known}' is given twice" + _places(message.path_options))
        options[known] = _option_value(known, value)
    if len(data) > 1:
        first, second = list(data)[:2]
        raise bad_option("data", f"{shown(first)} and {shown(second)} are both given: send one picture, as 'data'")
    return next(iter(data.values()), None), options


def _places(path_options: str) -> str:
    return ", in the path and in the body" if path_options.strip("?/") else ""


def _path_options(query: str) -> dict[str, object]:
    """Return the options of a query string in the path; TorchServe has already decoded it, except for `+`."""
    options: dict[str, object] = {}
    for part in query.strip("?/").split("&") if query.strip("?/") else ():
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise RequestError(400, "BadOptionException", "options in the path must read name=value&name=value")
        name = option_name(name) or name
        if name in options or name in DATA:
            raise bad_option(name, f"'{name}' is given twice" if name in options else f"'{name}' cannot be in the path")
        options[name] = _option_value(name, value.replace("+", " "))
    return options


def _option_value(name: str, value: object) -> object:
    """Return the value of an option: bytes of a form field as text, a JSON list in a text as a list."""
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


def read_picture(data: object, spec: InputSpec, max_pixels: int) -> Picture:
    """Return the picture in `data`, preprocessed for the network; raise RequestError 400, 413 or 415 if it is invalid.

    `data` is an image file (see `file_bytes`), an upright Pillow image, an array of pixels, uint8 [H, W, C], or the
    network's own input, float32 [C, H, W], which is used unchanged.
    """
    if isinstance(data, np.ndarray):
        return _from_array(data, spec)
    if isinstance(data, Image.Image):
        return prepare(data, spec)
    if isinstance(data, bytes | bytearray) and data[:1] in NO_TEXT:
        return decode(bytes(data), spec, max_pixels)
    return decode(file_bytes(data), spec, max_pixels)


def _from_array(values: NDArray[np.generic], spec: InputSpec) -> Picture:
    """Return the picture of pixels, uint8 [H, W, C], or of a preprocessed input, float32 [C, H, W]."""
    if values.dtype == np.float32:
        return preprocessed(values.astype(np.float32, copy=False), spec)
    return prepare(Image.fromarray(values[..., 0] if values.shape[2] == 1 else values), spec)

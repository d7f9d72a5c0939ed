"""The request for one picture: its form, or its tensor, with the options that the client needs for its answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from torchserve_saliency.errors import bad_option
from torchserve_saliency.images.picture_kinds import NetworkInput, read_kind, to_file
from torchserve_saliency.requests.python_message import plain_options
from torchserve_saliency.spelling import find_spelling
from torchserve_saliency_cli.client.transport import Part, form

FORMATS = ("json", "npy")
ALIASES = {"numpy": "npy", "application/json": "json", "application/x-npy": "npy"}
JSON_TYPE = "application/json"
MOST_PREDICTIONS = 100  # an answer of tensors has the scores of a target only among its predictions


@dataclass(frozen=True)
class PictureRequest:
    """A request: its path and body, and the picture that it sends, to draw the maps of the answer over."""

    path: str
    body: bytes
    content_type: str
    options: Mapping[str, object]
    picture: bytes | Image.Image | NetworkInput | None


def picture_request(picture: object, model: str, version: str | None, options: Mapping[str, object]) -> PictureRequest:
    """Return the request for a picture, or for a method that makes one if it is None.

    The format and the render option are always sent, so that a default of the archive does not replace them. Raise
    RequestError for a value that is no picture and a format that holds no map, OSError for a file that cannot be read.
    """
    sent = {"render": "heatmap", **plain_options(options), "format": _format(options.get("format"))}
    data = None if picture is None else read_kind(picture)
    path = "/".join(quote(part, safe="") for part in ("explanations", model, version) if part)
    if isinstance(data, np.ndarray):
        return PictureRequest(path, _tensor_body(data, sent), JSON_TYPE, sent, data)
    parts = [Part(name, _text(value)) for name, value in sent.items()]
    if data is not None:
        parts.append(Part("data", to_file(data), _file_name(picture)))
    body, content_type = form(parts)
    return PictureRequest(path, body, content_type, sent, data)


def _format(value: object) -> str:
    """Return `json`, or `npy` if that is asked for; raise RequestError 400 for another format."""
    if value is None:
        return "json"
    found = find_spelling(value, FORMATS, ALIASES) if isinstance(value, str) else None
    if found is None:
        message = (
            f"the client takes the formats {' and '.join(FORMATS)}, not {value!r}; explanation.save writes a picture"
        )
        raise bad_option("format", message)
    return found


def _text(value: object) -> str:
    """Return the value of an option as the text of a form field."""
    return value if isinstance(value, str) else json.dumps(value)


def _file_name(picture: object) -> str:
    """Return the name of a picture's file, which the server writes into its log."""
    return Path(picture).name if isinstance(picture, str | os.PathLike) else "picture"


def _tensor_body(values: NetworkInput, options: Mapping[str, object]) -> bytes:
    """Return the body of the Open Inference Protocol for an input [C, H, W] that is already preprocessed."""
    parameters = {"top_k": MOST_PREDICTIONS, **options, "format": "json"}
    data = ",".join(map("%.9g".__mod__, values.ravel().tolist()))  # nine digits identify a float32
    tensor = f'{{"name":"input","shape":{[1, *values.shape]},"datatype":"FP32","data":[{data}]}}'
    return f'{{"inputs":[{tensor}],"parameters":{json.dumps(parameters)}}}'.encode("ascii")

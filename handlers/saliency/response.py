"""Explanation to bytes: one function a format, all in the table FORMATS."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

import numpy as np

from saliency.body import Body, check_size, drawn, explanation_body, not_finite, scalars_body, value_range
from saliency.errors import RequestError, bad_option
from saliency.explanation import Explanation
from saliency.png import to_png
from saliency.render import beside

HEADER_BYTES = 16 * 1024
PLACE = "@"  # stands for a picture until its base64 is set in


@dataclass(frozen=True)
class Response:
    """What one request is sent; `kind` is the type of the error that it is.

    `unwritten` holds status and type for each picture that was answered, and whose answer could not be encoded.
    """

    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""
    unwritten: tuple[tuple[int, str], ...] = ()


def encode(explanation: Explanation, max_bytes: int) -> Response:
    """Return the explanation in its format; RequestError 413 above `max_bytes`, 500 if not finite."""
    response = FORMATS[explanation.format](explanation, max_bytes)
    check_size(len(response.body), explanation, max_bytes)
    return response


def json_response(value: object) -> Response:
    """Return a value as ASCII JSON; RequestError 500 where one of its numbers is not finite."""
    return Response(_dumps(value).encode("ascii"), "application/json")


def error_response(error: RequestError) -> Response:
    """Return the error object of a request, under the error's status."""
    return Response(_dumps(error.body()).encode("ascii"), "application/json", error.status, kind=error.kind)


def classes_body(pairs: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the labels' probabilities in the order given, as TorchServe's `image_classifier` answers."""
    return {label: float(probability) for label, probability in pairs}


def _json(explanation: Explanation, max_bytes: int) -> Response:
    """Return the explanation body as JSON, its pictures set in unread: their base64 needs no escapes."""
    body = explanation_body(explanation, max_bytes)
    pictures = _pictures(body)
    texts = [str(picture["data"]).encode("ascii") for picture in pictures]
    for picture in pictures:
        picture["data"] = PLACE
    parts = _dumps(body).encode("ascii").split(b'"data":"%b"' % PLACE.encode())
    filled = [b'"data":"%b"%b' % (text, part) for text, part in zip(texts, parts[1:], strict=True)]
    return Response(b"".join([parts[0], *filled]), "application/json")


def _pictures(body: Body) -> list[Body]:
    """Return the parts of a JSON answer that hold a picture, in their order."""
    entries = cast("list[dict[str, Body]]", body["explanations"])
    return [entry[part] for entry in entries for part in ("saliency", "image") if part in entry]


def _png(explanation: Explanation, max_bytes: int) -> Response:
    """Return the pictures of all targets side by side, as one PNG; 400 where the view has no picture."""
    if explanation.view.render == "none":
        raise bad_option("render", "format png is a picture, and render none asks for none")
    pictures = [drawn(one.saliency, explanation) for one in explanation.maps]
    return Response(to_png(beside(pictures)), "image/png")


def _npy(explanation: Explanation, max_bytes: int) -> Response:
    """Return the maps as one exact float32 array [targets, …], all else in header `Saliency-Metadata`."""
    check_size(sum(one.saliency.nbytes for one in explanation.maps), explanation, max_bytes)
    for one in explanation.maps:
        value_range(one.saliency)
    maps = np.stack([one.saliency for one in explanation.maps]).astype("<f4", copy=False)
    file = io.BytesIO()
    np.lib.format.write_array(file, maps, version=(1, 0), allow_pickle=False)
    headers = {"Saliency-Metadata": _metadata(explanation)}
    return Response(file.getvalue(), "application/x-npy", headers=headers)


FORMATS: Mapping[str, Callable[[Explanation, int], Response]] = MappingProxyType(
    {"json": _json, "png": _png, "npy": _npy}
)


def _metadata(explanation: Explanation) -> str:
    """Return the JSON answer without its pictures, on one line; RequestError 413 above HEADER_BYTES."""
    text = _dumps(scalars_body(explanation))
    if len(text) > HEADER_BYTES:
        said = f"header Saliency-Metadata has {len(text):,} bytes, its limit is {HEADER_BYTES:,}; ask for "
        said += f"fewer predictions (top_k, now {len(explanation.predictions)}), fewer targets "
        said += f"(target, now {len(explanation.maps)}) or format json"
        raise RequestError(413, "HeaderTooLargeException", said, "top_k")
    return text


def _dumps(value: object) -> str:
    """Return a value as compact ASCII JSON on one line; RequestError 500 where it holds NaN or infinity."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise not_finite("the answer") from error

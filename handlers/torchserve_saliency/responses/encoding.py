"""Explanations to bytes: one function per format, all in the table ENCODERS."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from PIL import Image

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.responses.drawing import draw_target
from torchserve_saliency.responses.explanation import Explanation, Outcome
from torchserve_saliency.responses.image_grid import concatenate
from torchserve_saliency.responses.json_body import (
    answer_fields,
    check_size,
    entry_fields,
    json_pictures,
    to_json,
    too_large,
    value_range,
)
from torchserve_saliency.responses.negotiation import CONTENT_TYPES
from torchserve_saliency.responses.photo_formats import to_photo
from torchserve_saliency.responses.png import to_png

HEADER_BYTES = 16 * 1024


@dataclass(frozen=True)
class Response:
    """The answer to one request; if it is an error, `kind` is the type of the error object.

    `encoding_errors` holds status and type for each picture whose result could not be encoded.
    """

    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""
    encoding_errors: tuple[tuple[int, str], ...] = ()


def encode_outcome(outcome: Outcome | RequestError, max_bytes: int) -> Response:
    """Return the answer for one picture: an explanation, predictions, or an error object.

    Raise RequestError 413 if the answer exceeds `max_bytes`.
    """
    if isinstance(outcome, RequestError):
        return error_response(outcome)
    if isinstance(outcome, Explanation):
        return encode(outcome, max_bytes)
    response = json_response(classes_body([(one.unique_label or one.label, one.probability) for one in outcome]))
    if len(response.body) > max_bytes:
        raise too_large(len(response.body), max_bytes, "a smaller top_k")
    return response


def encode(explanation: Explanation, max_bytes: int) -> Response:
    """Return the explanation in its format; raise RequestError 413 above `max_bytes`, 500 if a value is not finite."""
    response = ENCODERS[explanation.format](explanation, max_bytes)
    check_size(len(response.body), explanation, max_bytes)
    return response


def json_response(value: object) -> Response:
    """Return a value as ASCII JSON; raise RequestError 500 for a number that is not finite."""
    return Response(to_json(value), "application/json")


def error_response(error: RequestError) -> Response:
    """Return the error object of a request, under the error's status."""
    return Response(to_json(error.body()), "application/json", error.status, kind=error.kind)


def classes_body(pairs: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the labels' probabilities in the order given, as TorchServe's `image_classifier` answers."""
    return {label: float(probability) for label, probability in pairs}


def _encode_json(explanation: Explanation, max_bytes: int) -> Response:
    """Return the explanation as JSON.

    The pictures are encoded first, each as a JSON object of its own, and joined with the JSON of the other fields: an
    encoder of the whole answer would search their long base64 texts for characters to escape.
    """
    pictures, length = [], 0
    for one in explanation.maps:
        pictures.append(json_pictures(one, explanation))
        length += sum(map(len, pictures[-1].values()))
        check_size(length, explanation, max_bytes)
    return Response(b"".join(_json_parts(explanation, pictures)), "application/json")


def _json_parts(explanation: Explanation, pictures: Sequence[Mapping[str, bytes]]) -> Iterator[bytes]:
    """Yield the JSON answer in parts, with the pictures of each target between its first and its last fields."""
    answer_first, answer_last = answer_fields(explanation)
    yield to_json(answer_first)[:-1] + b',"explanations":['
    separator = b""
    for one, encoded in zip(explanation.maps, pictures, strict=True):
        first, last = entry_fields(one, explanation)
        yield separator + to_json(first)[:-1]
        for name, picture in encoded.items():
            yield b',"%b":' % name.encode("ascii")
            yield picture
        yield b"," + to_json(last)[1:]
        separator = b","
    yield b"]," + to_json(answer_last)[1:]


def _encode_png(explanation: Explanation, max_bytes: int) -> Response:
    """Return the pictures of all targets as one PNG."""
    return Response(to_png(_drawn(explanation)), CONTENT_TYPES["png"])


def _encode_photo(explanation: Explanation, max_bytes: int) -> Response:
    """Return the pictures of all targets as one JPEG or WebP."""
    data = to_photo(_drawn(explanation), explanation.format, max_bytes)
    return Response(data, CONTENT_TYPES[explanation.format])


def _drawn(explanation: Explanation) -> Image.Image:
    """Return the pictures of all targets side by side; raise RequestError 400 for render none, 422 without targets."""
    if explanation.view.render == "none":
        raise bad_option("render", f"format {explanation.format} is a picture, and render none asks for none")
    if not explanation.maps:
        raise _no_target(explanation)
    pictures = []
    for one in explanation.maps:
        value_range(one.saliency)
        pictures.append(draw_target(one, explanation))
    return concatenate(pictures)


def _encode_npy(explanation: Explanation, max_bytes: int) -> Response:
    """Return the maps as one float32 array [targets, …], and the other fields in header `Saliency-Metadata`."""
    check_size(sum(one.saliency.nbytes for one in explanation.maps), explanation, max_bytes)
    for one in explanation.maps:
        value_range(one.saliency)
    maps = np.stack([one.saliency for one in explanation.maps] or [explanation.empty_map()])
    maps = maps[: len(explanation.maps)].astype("<f4", copy=False)
    file = io.BytesIO()
    np.lib.format.write_array(file, maps, version=(1, 0), allow_pickle=False)
    headers = {"Saliency-Metadata": _metadata(explanation)}
    return Response(file.getvalue(), "application/x-npy", headers=headers)


ENCODERS: Mapping[str, Callable[[Explanation, int], Response]] = MappingProxyType(
    {"json": _encode_json, "png": _encode_png, "npy": _encode_npy, "jpeg": _encode_photo, "webp": _encode_photo}
)


def _no_target(explanation: Explanation) -> RequestError:
    """Return the 422 for a picture of no map: no class reaches the probability that option `target` asks for."""
    best = explanation.predictions[0]
    message = (
        f"no class reaches the probability that 'target' asks for, so there is no map to draw: the most probable one, "
        f"'{best.label}', has {best.probability:.4g}; format json answers with an empty list"
    )
    return RequestError(422, "NoTargetException", message, "target")


def _metadata(explanation: Explanation) -> str:
    """Return the JSON answer without its pictures; raise RequestError 413 if it is longer than HEADER_BYTES."""
    first, last = answer_fields(explanation)
    entries = [before | after for before, after in (entry_fields(one, explanation) for one in explanation.maps)]
    text = to_json({**first, "explanations": entries, **last}).decode("ascii")
    if len(text) > HEADER_BYTES:
        message = (
            f"header Saliency-Metadata has {len(text):,} bytes, and the limit is {HEADER_BYTES:,}; ask for fewer "
            f"predictions (top_k, now {len(explanation.predictions)}), fewer targets (target, now "
            f"{len(explanation.maps)}) or format json"
        )
        raise RequestError(413, "HeaderTooLargeException", message, "top_k")
    return text

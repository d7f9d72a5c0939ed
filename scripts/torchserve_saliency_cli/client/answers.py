"""The answer to a request, as an explanation that can draw its maps over the picture that was sent."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.display import DisplayedExplanation, displayed
from torchserve_saliency.responses.explanation import Explanation, Prediction, TargetMap, View
from torchserve_saliency_cli.client.errors import RefusedError
from torchserve_saliency_cli.client.requests import PictureRequest
from torchserve_saliency_cli.client.sent_pictures import sent_picture
from torchserve_saliency_cli.client.tensor_answers import body_of_tensors
from torchserve_saliency_cli.client.transport import Reply

Map = NDArray[np.float32]
Maps = Sequence[Map] | NDArray[np.float32]
ENTRY_FIELDS = ("target", "against", "method", "parameters", "saliency", "image", "quality", "sanity")


def explanation_of(reply: Reply, request: PictureRequest) -> DisplayedExplanation:
    """Return the explanation in a reply; raise RefusedError for a reply that has none.

    Its maps are exact if the format is npy, or if a tensor was sent; else they have 256 levels.
    """
    try:
        body, maps = _content(reply)
        return _explanation(body, maps, request)
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        message = (
            f"the answer is no explanation ({type(error).__name__}: {error}); is this the address of a TorchServe?"
        )
        raise RefusedError(reply.status, "UnknownAnswerException", message[:500]) from error


def _content(reply: Reply) -> tuple[dict[str, Any], Maps]:
    """Return the JSON body of an answer, and its maps."""
    if reply.content_type == "application/x-npy":
        array = np.load(io.BytesIO(reply.body), allow_pickle=False)
        return json.loads(reply.headers["Saliency-Metadata"]), array
    body = json.loads(reply.body)
    if "outputs" in body:
        return body_of_tensors(body)
    return body, [_decoded(entry["saliency"]) if "saliency" in entry else _no_map() for entry in body["explanations"]]


def _decoded(saliency: Mapping[str, Any]) -> Map:
    """Return the values of a map that was sent as a greyscale PNG."""
    pixels = np.asarray(_image(saliency["data"]), np.float64).reshape(saliency["shape"])
    low, high = float(saliency["min"]), float(saliency["max"])
    return (low + pixels / 255 * (high - low)).astype(np.float32)


def _image(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


def _no_map() -> Map:
    return np.zeros((0, 0), np.float32)


def _explanation(body: dict[str, Any], maps: Maps, request: PictureRequest) -> DisplayedExplanation:
    """Return the explanation of a JSON body and its maps."""
    entries = body["explanations"]
    if len(entries) != len(maps):
        raise ValueError(f"{len(maps)} maps for {len(entries)} targets")
    first: Mapping[str, Any] = entries[0] if entries else {}
    method = str(first.get("method", request.options.get("method", "")))
    parameters = first.get("parameters", {})
    shows = METHODS[method].shows if method in METHODS else Shows.SALIENCY
    explanation = Explanation(
        model=body["model"]["name"],
        version=body["model"]["version"],
        predictions=tuple(map(_prediction, body["predictions"])),
        maps=tuple(_target_map(entry, values) for entry, values in zip(entries, maps, strict=True)),
        method=method,
        parameters=parameters,
        picture=sent_picture(request.picture, body["input"], _map_size(maps)),
        view=_view(first, request),
        format=str(request.options["format"]),
        shows=shows,
        sanity=first.get("sanity"),
    )
    return displayed(explanation, body)


def _map_size(maps: Maps) -> tuple[int, int]:
    """Return the height and width of the maps; a list without a map has none."""
    shape: Sequence[int] = maps.shape if isinstance(maps, np.ndarray) else maps[0].shape if maps else (0, 0)
    return shape[-2], shape[-1]


def _prediction(values: Mapping[str, Any]) -> Prediction:
    return Prediction(*(values[name] for name in ("index", "label", "probability", "logit")))


def _target_map(entry: Mapping[str, Any], values: Map) -> TargetMap:
    """Return a map with its classes; all fields of the entry that are not known are findings."""
    return TargetMap(
        target=_prediction(entry["target"]),
        against=_prediction(entry["against"]) if entry.get("against") else None,
        saliency=values,
        findings={name: value for name, value in entry.items() if name not in ENTRY_FIELDS},
        quality=entry.get("quality"),
    )


def _view(entry: Mapping[str, Any], request: PictureRequest) -> View:
    """Return the view of the answer's pictures, or that of the request."""
    image = entry.get("image") or {"render": request.options["render"]}
    names = {field.name for field in fields(View)}
    known = {name: value for name, value in image.items() if name in names}
    return View(**{**known, "space": entry.get("parameters", {}).get("space", "input")})

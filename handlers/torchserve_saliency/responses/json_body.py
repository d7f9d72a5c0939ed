"""The fields and pictures of the JSON answer, and the checks that every answer passes."""

from __future__ import annotations

import json
import math
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.drawing import draw_target
from torchserve_saliency.responses.explanation import Explanation, Prediction, TargetMap
from torchserve_saliency.responses.png import to_png

Body = dict[str, object]
TOO_LARGE = "ResponseTooLargeException"  # type of the error for an answer that is longer than the limit


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def to_json(value: object) -> bytes:
    """Return a value as compact ASCII JSON on one line; raise RequestError 500 for NaN or infinity."""
    try:
        return _ENCODER.encode(value).encode("ascii")
    except ValueError as error:
        raise not_finite("the answer") from error


def answer_fields(explanation: Explanation) -> tuple[Body, Body]:
    """Return the fields of a JSON answer before and after the field `explanations`."""
    picture = explanation.picture
    first: Body = {
        "model": {"name": explanation.model, "version": explanation.version},
        "predictions": [_prediction(prediction) for prediction in explanation.predictions],
    }
    size: Body = {
        "width": picture.original.width,
        "height": picture.original.height,
        "crop": [round(float(side), 4) for side in picture.crop],
    }
    return first, {"input": size}


def entry_fields(one: TargetMap, explanation: Explanation) -> tuple[Body, Body]:
    """Return the fields of one target, before and after its pictures."""
    first: Body = {
        "target": _prediction(one.target),
        "against": _prediction(one.against) if one.against else None,
        "method": explanation.method,
        "parameters": dict(explanation.parameters),
    }
    last: Body = {
        "quality": dict(one.quality) if one.quality else None,
        **({"sanity": explanation.sanity} if explanation.sanity else {}),
        **one.findings,
    }
    return first, last


def json_pictures(one: TargetMap, explanation: Explanation) -> dict[str, bytes]:
    """Return the pictures of one target as JSON objects.

    They are `saliency`, and `image` if it differs from the plain heatmap; with `render=none`, there are none.
    """
    view = explanation.view
    if view.render == "none":
        return {}
    saliency = _saliency_json(one.saliency)
    if has_plain_view(explanation):
        return {"saliency": saliency}
    image = draw_target(one, explanation)
    fields: Body = {"encoding": "png", "render": view.render, "space": view.space}
    fields |= {name: getattr(view, name) for name in ("colormap", "alpha", "clip", "floor", "backdrop", "caption")}
    fields |= {"shape": [image.height, image.width]}
    return {"saliency": saliency, "image": b'%b,"data":"%b"}' % (to_json(fields)[:-1], b64encode(to_png(image)))}


def has_plain_view(explanation: Explanation) -> bool:
    """Tell if the picture would be the heatmap alone, which a client can make of the saliency itself."""
    view = explanation.view
    return view.render == "heatmap" and explanation.shows is Shows.SALIENCY and not view.caption


def _saliency_json(saliency: NDArray[np.float32]) -> bytes:
    """Return a map in 256 levels between its extremes, as a JSON object with a greyscale PNG.

    Its pixels, reshaped to `shape`, mean min + pixel / 255 · (max − min). C channels make a picture of C · H rows.
    """
    low, high = value_range(saliency)
    width = (high - low) or 1.0
    level = saliency if 1e-30 < width < 1e30 else saliency.astype(np.float64)  # float32 would overflow or underflow
    level = (level - level.dtype.type(low)) * level.dtype.type(255 / width)
    pixels = np.rint(level, out=level).astype(np.uint8).reshape(-1, saliency.shape[-1])
    shape = ",".join(map(str, saliency.shape))
    fields = f'"encoding":"png","dtype":"uint8","shape":[{shape}],"min":{low!r},"max":{high!r}'
    return b'{%b,"data":"%b"}' % (fields.encode("ascii"), b64encode(to_png(pixels)))


def value_range(saliency: NDArray[np.float32]) -> tuple[float, float]:
    """Return the smallest and the largest value of a map; raise RequestError 500 for a value that is not finite."""
    low, high = float(saliency.min()), float(saliency.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise not_finite("the saliency")
    return low, high


def not_finite(name: str) -> RequestError:
    """Return the 500 for a result, such as "the saliency", that holds NaN or infinity."""
    return RequestError(500, "NonFiniteException", f"{name} of this picture holds values that are not finite")


def check_size(length: int, explanation: Explanation, max_bytes: int) -> None:
    """Raise RequestError 413, with advice, for an answer that is longer than the limit."""
    if length > max_bytes:
        raise too_large(length, max_bytes, smaller_answers(explanation))


def smaller_answers(explanation: Explanation, only_json: bool = False) -> str:
    """Return the options that make the answer smaller; `only_json` if the protocol has no other format."""
    as_json, render = explanation.format == "json", explanation.view.render
    with_channels = explanation.shows is Shows.SALIENCY and any(one.saliency.ndim == 3 for one in explanation.maps)
    smaller = {
        "format jpeg or webp": not only_json and render != "none" and explanation.format in ("json", "png"),
        "space input": explanation.view.space == "original",
        "fewer targets": len(explanation.maps) > 1,
        "fewer channels": explanation.shows is Shows.CHANNELS,
        "another reduce than none": with_channels,
        "format json": not as_json,
        "render heatmap": as_json and render not in ("heatmap", "none"),
        "render none": as_json and render != "none",
    }
    return " or ".join(name for name, helps in smaller.items() if helps) or "a smaller top_k"


def too_large(length: int, limit: int, instead: str) -> RequestError:
    """Return the 413 for an answer that is longer than the limit; `instead` names the options to ask for."""
    message = f"the answer has {length:,} bytes or more, and the limit is {limit:,}; ask for {instead}"
    return RequestError(413, TOO_LARGE, message)


def _prediction(prediction: Prediction) -> Body:
    """Return the fields of a class, with the network's output for it."""
    return {
        "index": prediction.index,
        "label": prediction.label,
        "probability": float(prediction.probability),
        "logit": float(prediction.logit),
    }

"""Explanation to the JSON answer, as a value."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency.errors import RequestError
from saliency.explanation import Explanation, Prediction, TargetMap
from saliency.image import Picture, pixel_box
from saliency.methods.base import Shows
from saliency.png import to_png
from saliency.render import PixelBox, draw
from saliency.sheet import sheet

Body = dict[str, object]


def explanation_body(explanation: Explanation, max_bytes: int) -> Body:
    """Return the JSON answer; with `render=none` its explanations hold neither saliency nor image.

    The saliency is a greyscale PNG whose pixels, reshaped to `shape`, mean min + pixel / 255 · (max − min):
    C channels make a picture of C · H rows. RequestError 413 once the pictures alone exceed `max_bytes`.
    """
    entries: list[Body] = []
    length = 0
    for one in explanation.maps:
        pictures = _pictures(one, explanation)
        length += sum(len(str(picture["data"])) for picture in pictures.values())
        check_size(length, explanation, max_bytes)
        entries.append(_entry(one, explanation, pictures))
    return _answer(explanation, entries)


def scalars_body(explanation: Explanation) -> Body:
    """Return the JSON answer without its pictures."""
    return _answer(explanation, [_entry(one, explanation, {}) for one in explanation.maps])


def drawn(saliency: NDArray[np.float32], explanation: Explanation) -> Image.Image:
    """Return a map drawn as its explanation's view asks, over the picture of its space; or as what it is."""
    value_range(saliency)
    if explanation.shows is Shows.CHANNELS:
        return sheet(saliency, explanation.view)
    if explanation.shows is Shows.INPUT:
        return explanation.picture.shown(saliency)
    pixels, inside = _background(explanation.picture, explanation.view.space)
    return draw(saliency, pixels, explanation.view, inside)


def value_range(saliency: NDArray[np.float32]) -> tuple[float, float]:
    """Return the least and the greatest value; RequestError 500 where any is not finite."""
    low, high = float(saliency.min()), float(saliency.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise not_finite("the saliency")
    return low, high


def not_finite(what: str) -> RequestError:
    """Return the 500 for NaN or infinity where a number is due."""
    return RequestError(500, "NonFiniteException", f"{what} of this picture holds values that are not finite")


def check_size(length: int, explanation: Explanation, max_bytes: int) -> None:
    """Raise RequestError 413, saying what to ask for instead, where an answer is longer than the limit."""
    if length <= max_bytes:
        return
    as_json, render = explanation.format == "json", explanation.view.render
    smaller = {
        "space input": explanation.view.space == "original",
        "fewer targets": len(explanation.maps) > 1,
        "fewer channels": explanation.shows is Shows.CHANNELS,
        "another reduce than none": explanation.shows is Shows.SALIENCY and explanation.maps[0].saliency.ndim == 3,
        "format json": not as_json,
        "render heatmap": as_json and render not in ("heatmap", "none"),
        "render none": as_json and render != "none",
    }
    instead = " or ".join(name for name, helps in smaller.items() if helps) or "a smaller top_k"
    raise too_large(length, max_bytes, instead)


def too_large(length: int, limit: int, instead: str) -> RequestError:
    """Return the 413 for an answer that is longer than the limit, with what to ask for instead."""
    said = f"the answer has {length:,} bytes or more, and the limit is {limit:,}; ask for {instead}"
    return RequestError(413, "ResponseTooLargeException", said)


def _answer(explanation: Explanation, entries: Sequence[Body]) -> Body:
    """Return the answer around the entries of its targets."""
    picture = explanation.picture
    return {
        "model": {"name": explanation.model, "version": explanation.version},
        "predictions": [_prediction(prediction) for prediction in explanation.predictions],
        "explanations": list(entries),
        "input": {
            "width": picture.original.width,
            "height": picture.original.height,
            "crop": [round(float(side), 4) for side in picture.crop],
        },
    }


def _entry(one: TargetMap, explanation: Explanation, pictures: Mapping[str, Body]) -> Body:
    """Return what is said of one target."""
    return {
        "target": _prediction(one.target),
        "against": _prediction(one.against) if one.against else None,
        "method": explanation.method,
        "parameters": dict(explanation.parameters),
        **pictures,
        "quality": dict(one.quality) if one.quality else None,
        **({"sanity": explanation.sanity} if explanation.sanity else {}),
        **one.findings,
    }


def _prediction(prediction: Prediction) -> Body:
    """Return a class and what the network says of it."""
    return {
        "index": prediction.index,
        "label": prediction.label,
        "probability": float(prediction.probability),
        "logit": float(prediction.logit),
    }


def _pictures(one: TargetMap, explanation: Explanation) -> dict[str, Body]:
    """Return a target's `saliency`, and its `image` where that is more than the plain heatmap."""
    view = explanation.view
    if view.render == "none":
        return {}
    saliency = _quantised(one.saliency)
    if view.render == "heatmap" and explanation.shows is Shows.SALIENCY:
        return {"saliency": saliency}
    image = drawn(one.saliency, explanation)
    picture: Body = {"encoding": "png", "render": view.render, "space": view.space}
    picture |= {name: getattr(view, name) for name in ("colormap", "alpha", "clip", "floor")}
    picture |= {"shape": [image.height, image.width], "data": _base64(to_png(image))}
    return {"saliency": saliency, "image": picture}


def _quantised(saliency: NDArray[np.float32]) -> Body:
    """Return a map in 256 steps between its extremes, as a PNG."""
    low, high = value_range(saliency)
    width = (high - low) or 1.0
    level = saliency if 1e-30 < width < 1e30 else saliency.astype(np.float64)  # beyond, float32 ends in 0 or infinity
    level = (level - level.dtype.type(low)) * level.dtype.type(255 / width)
    pixels = np.rint(level, out=level).astype(np.uint8).reshape(-1, saliency.shape[-1])
    said: Body = {"encoding": "png", "dtype": "uint8", "shape": list(saliency.shape), "min": low, "max": high}
    return said | {"data": _base64(to_png(pixels))}


def _background(picture: Picture, space: str) -> tuple[NDArray[np.uint8], PixelBox | None]:
    """Return the RGB pixels [H, W, 3] of a space, and the box of them that the network saw, None for all."""
    if space == "original":
        original = picture.original.convert("RGB")
        return np.asarray(original), pixel_box(picture.crop, original.width, original.height)
    if picture.pixels.shape[2] == 3:
        return picture.pixels, None
    grey = picture.pixels.mean(axis=2, keepdims=True).astype(np.uint8)
    return np.repeat(grey, 3, axis=2), None


def _base64(data: bytes) -> str:
    """Return bytes as base64 text."""
    return b64encode(data).decode("ascii")

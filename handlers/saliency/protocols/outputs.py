"""Outcomes of several pictures as the tensors of one answer, N along the first axis."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from saliency.body import drawn, value_range
from saliency.errors import RequestError, bad_option
from saliency.explanation import Explanation, Prediction, TargetMap
from saliency.jobs import Outcome
from saliency.methods.base import Shows
from saliency.model import Classifier
from saliency.png import to_png
from saliency.protocols.tensors import Tensor, reals, written
from saliency.response import Response

Answered = Outcome
Explanations = Sequence[Explanation]
T = TypeVar("T")


def answered(found: Sequence[Answered], classifier: Classifier, identity: str | None, asked: Sequence[str]) -> Response:
    """Return the answer; RequestError 413 where it is too long, 400 where the pictures' maps differ in size."""
    limit = classifier.limits.max_response_bytes
    explanations = [one for one in found if isinstance(one, Explanation)]
    predictions = [one.predictions if isinstance(one, Explanation) else one for one in found]
    head: dict[str, object] = {"model_name": classifier.name, "model_version": classifier.version}
    head |= {} if identity is None else {"id": identity}
    head |= {"parameters": _parameters(explanations[0])} if explanations else {}
    texts: list[str] = []
    for tensor in _tensors(predictions, explanations, asked, limit):
        texts.append(tensor.text())
        _check(sum(map(len, texts)), limit)
    text = f'{json.dumps(head, allow_nan=False, separators=(",", ":"))[:-1]},"outputs":[{",".join(texts)}]}}'
    _check(len(text), limit)
    return Response(text.encode("ascii"), "application/json")


def _parameters(explanation: Explanation) -> dict[str, object]:
    """Return the method and every value that was used, and what the sanity test found."""
    said: dict[str, object] = {"method": explanation.method, **explanation.parameters}
    return said | ({"sanity": explanation.sanity} if explanation.sanity else {})


def _check(length: int, limit: int) -> None:
    if length > limit:
        said = (
            f"the answer has {length:,} bytes or more, and the limit is {limit:,}; ask for fewer pictures or targets,"
        )
        raise RequestError(413, "ResponseTooLargeException", f"{said} or name the 'outputs' that are needed")


def _tensors(
    predictions: Sequence[Sequence[Prediction]], explanations: Explanations, asked: Sequence[str], limit: int
) -> Iterator[Tensor]:
    """Yield the tensors that are asked for, of those that there are."""
    for name, of in PREDICTED.items():
        if not asked or name in asked:
            yield of(name, predictions)
    for name, told in EXPLAINED.items() if explanations else ():
        if (not asked or name in asked) and (tensor := told(name, explanations, limit)):
            yield tensor


def _classes(datatype: str, value: Callable[[Prediction], object]) -> Callable[..., Tensor]:
    """Return what makes a tensor [N, k] of the k best classes."""

    def tensor(name: str, rows: Sequence[Sequence[Prediction]]) -> Tensor:
        return written(name, datatype, (len(rows), len(rows[0])), [value(one) for row in rows for one in row])

    return tensor


def _each(datatype: str, value: Callable[[TargetMap], object]) -> Callable[..., Tensor | None]:
    """Return what makes a tensor [N, T] of a value a target, none where no target has one."""

    def tensor(name: str, explanations: Explanations, limit: int) -> Tensor | None:
        values = [value(one) for explanation in explanations for one in explanation.maps]
        shape = (len(explanations), len(explanations[0].maps))
        return None if all(one is None for one in values) else written(name, datatype, shape, values)

    return tensor


def _saliency(name: str, explanations: Explanations, limit: int) -> Tensor | None:
    """Return the maps [N, T, H, W], or [N, T, C, H, W]; None with `render=none`."""
    if explanations[0].view.render == "none":
        return None
    maps = [one.saliency for explanation in explanations for one in explanation.maps]
    if any(one.shape != maps[0].shape for one in maps):
        raise bad_option("space", "pictures of several sizes have no common tensor: 'space' must be input")
    _check(2 * sum(one.size for one in maps), limit)
    texts = []
    for one in maps:
        value_range(one)
        texts.append(reals(one))
        _check(sum(map(len, texts)), limit)
    shape = (len(explanations), len(explanations[0].maps), *maps[0].shape)
    return Tensor(name, "FP32", shape, f"[{','.join(texts)}]")


def _image(name: str, explanations: Explanations, limit: int) -> Tensor | None:
    """Return PNG files [N, T] as base64, where `render` asks for a picture other than the plain heatmap."""
    first = explanations[0]
    if first.view.render == "none" or (first.view.render == "heatmap" and first.shows is Shows.SALIENCY):
        return None
    texts: list[str] = []
    for explanation in explanations:
        for one in explanation.maps:
            texts.append(b64encode(to_png(drawn(one.saliency, explanation))).decode("ascii"))
            _check(sum(map(len, texts)), limit)
    return written(name, "BYTES", (len(explanations), len(first.maps)), texts)


def _findings(name: str, explanations: Explanations, limit: int) -> Tensor | None:
    """Return what the method found beside each map, and its quality, [N, T] texts of JSON."""
    maps = [one for explanation in explanations for one in explanation.maps]
    texts = [json.dumps({**one.findings, **({"quality": one.quality} if one.quality else {})}) for one in maps]
    return written(name, "BYTES", (len(explanations), len(explanations[0].maps)), texts)


def _input(name: str, explanations: Explanations, limit: int) -> Tensor:
    """Return width and height of each picture and the crop that the network saw, [N, 6]."""
    rows = [[*one.picture.original.size, *one.picture.crop] for one in explanations]
    return written(name, "FP64", (len(rows), 6), [round(float(value), 4) for row in rows for value in row])


PREDICTED: Mapping[str, Callable[[str, Sequence[Sequence[Prediction]]], Tensor]] = MappingProxyType(
    {
        "labels": _classes("BYTES", lambda one: one.label),
        "indices": _classes("INT64", lambda one: one.index),
        "probabilities": _classes("FP64", lambda one: float(one.probability)),
        "logits": _classes("FP64", lambda one: float(np.float64(one.logit))),
    }
)
EXPLAINED: Mapping[str, Callable[[str, Explanations, int], Tensor | None]] = MappingProxyType(
    {
        "targets": _each("INT64", lambda one: one.target.index),
        "against": _each("INT64", lambda one: one.against.index if one.against else None),
        "saliency": _saliency,
        "image": _image,
        "findings": _findings,
        "input": _input,
    }
)
OUTPUTS = (*PREDICTED, *EXPLAINED)
"""The names of all outputs."""

"""Outcomes of several pictures as the tensors of one answer, N along the first axis."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from saliency.body import drawn, too_large, value_range
from saliency.errors import bad_option
from saliency.explanation import Explanation, Prediction, TargetMap
from saliency.jobs import Outcome
from saliency.methods.base import Shows
from saliency.model import Classifier
from saliency.png import to_png
from saliency.protocols.base import malformed
from saliency.protocols.binary import DTYPES, LENGTH
from saliency.protocols.tensors import Tensor
from saliency.response import Response

Explanations = Sequence[Explanation]


@dataclass(frozen=True)
class Wanted:
    """What a client wants of an answer: the names of its tensors, none for all, and which of them as binary data."""

    names: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()


def answered(found: Sequence[Outcome], classifier: Classifier, identity: str | None, wanted: Wanted) -> Response:
    """Return the answer; RequestError 413 where it is too long, 400 for maps of several sizes or a lacking output."""
    limit = classifier.limits.max_response_bytes
    explanations = [one for one in found if isinstance(one, Explanation)]
    predictions = [one.predictions if isinstance(one, Explanation) else one for one in found]
    head: dict[str, object] = {"model_name": classifier.name, "model_version": classifier.version}
    head |= {} if identity is None else {"id": identity}
    head |= {"parameters": _parameters(explanations[0])} if explanations else {}
    names: list[str] = []
    texts: list[str] = []
    data: list[bytes] = []
    for tensor in _tensors(predictions, explanations, wanted, limit):
        text, behind = tensor.binary() if tensor.name in wanted.binary else tensor.json()
        names.append(tensor.name)
        texts.append(text)
        data.append(behind)
        _check(sum(map(len, (*texts, *data))), limit)
    _check_named(wanted, names)
    text = f'{json.dumps(head, allow_nan=False, separators=(",", ":"))[:-1]},"outputs":[{",".join(texts)}]}}'
    return _response(text.encode("ascii"), b"".join(data), limit)


def _response(text: bytes, data: bytes, limit: int) -> Response:
    """Return JSON, and the binary data behind it if there are any."""
    _check(len(text) + len(data), limit)
    if not data:
        return Response(text, "application/json")
    return Response(text + data, "application/octet-stream", headers={LENGTH: str(len(text))})


def _parameters(explanation: Explanation) -> dict[str, object]:
    """Return the method and every value that was used, and what the sanity test found."""
    said: dict[str, object] = {"method": explanation.method, **explanation.parameters}
    return said | ({"sanity": explanation.sanity} if explanation.sanity else {})


def _check(length: int, limit: int) -> None:
    if length > limit:
        raise too_large(length, limit, "fewer pictures or targets, or name the 'outputs' that are needed")


def _check_named(wanted: Wanted, made: Sequence[str]) -> None:
    """Raise a 400 for an output that was named, and that an answer to this request does not have."""
    if lacking := [name for name in wanted.names if name not in made]:
        said = f"this request has no output '{lacking[0]}': it takes an explanation, 'render' or 'against'"
        raise malformed(said, "outputs")


def _tensors(
    predictions: Sequence[Sequence[Prediction]], explanations: Explanations, wanted: Wanted, limit: int
) -> Iterator[Tensor]:
    """Yield the tensors that are wanted, of those that there are."""
    for name, (datatype, value) in PREDICTED.items():
        if not wanted.names or name in wanted.names:
            yield _tensor(name, datatype, [[value(one) for one in row] for row in predictions])
    for name, told in EXPLAINED.items() if explanations else ():
        if (not wanted.names or name in wanted.names) and (tensor := told(name, explanations, limit)):
            yield tensor


def _tensor(name: str, datatype: str, rows: Sequence[Sequence[object]]) -> Tensor:
    """Return a tensor of rows of equal lengths."""
    flat = [value for row in rows for value in row]
    values = [str(value) for value in flat] if datatype == "BYTES" else np.array(flat, DTYPES[datatype])
    return Tensor(name, datatype, (len(rows), len(rows[0])), values)


def _targets(name: str, explanations: Explanations, limit: int) -> Tensor:
    return _tensor(name, "INT64", [[one.target.index for one in each.maps] for each in explanations])


def _against(name: str, explanations: Explanations, limit: int) -> Tensor | None:
    """Return the classes whose score is subtracted, None where there are none."""
    rows = [[one.against.index for one in each.maps if one.against] for each in explanations]
    return _tensor(name, "INT64", rows) if rows[0] else None


def _saliency(name: str, explanations: Explanations, limit: int) -> Tensor | None:
    """Return the maps [N, T, H, W], or [N, T, C, H, W]; None with `render=none`."""
    if explanations[0].view.render == "none":
        return None
    maps = [one.saliency for each in explanations for one in each.maps]
    if any(one.shape != maps[0].shape for one in maps):
        raise bad_option("space", "pictures of several sizes have no common tensor: 'space' must be input")
    _check(2 * sum(one.size for one in maps), limit)  # a digit and a comma each
    for one in maps:
        value_range(one)
    return Tensor(name, "FP32", (len(explanations), len(explanations[0].maps), *maps[0].shape), np.stack(maps))


def _image(name: str, explanations: Explanations, limit: int) -> Tensor | None:
    """Return PNG files [N, T] as base64, where `render` asks for a picture other than the plain heatmap."""
    first = explanations[0]
    if first.view.render == "none" or (first.view.render == "heatmap" and first.shows is Shows.SALIENCY):
        return None
    rows: list[list[str]] = []
    for each in explanations:
        rows.append([b64encode(to_png(drawn(one.saliency, each))).decode("ascii") for one in each.maps])
        _check(sum(len(text) for row in rows for text in row), limit)
    return _tensor(name, "BYTES", rows)


def _findings(name: str, explanations: Explanations, limit: int) -> Tensor:
    """Return what the method found beside each map, and its quality, as texts of JSON."""
    return _tensor(name, "BYTES", [[_finding(one) for one in each.maps] for each in explanations])


def _finding(one: TargetMap) -> str:
    quality = {"quality": one.quality} if one.quality else {}
    return json.dumps({**one.findings, **quality}, allow_nan=False)


def _input(name: str, explanations: Explanations, limit: int) -> Tensor:
    """Return width and height of each picture and the crop that the network saw, [N, 6]."""
    rows = [[*each.picture.original.size, *each.picture.crop] for each in explanations]
    return _tensor(name, "FP64", [[round(float(value), 4) for value in row] for row in rows])


PREDICTED: Mapping[str, tuple[str, Callable[[Prediction], object]]] = MappingProxyType(
    {
        "labels": ("BYTES", lambda one: one.label),
        "indices": ("INT64", lambda one: one.index),
        "probabilities": ("FP64", lambda one: one.probability),
        "logits": ("FP64", lambda one: one.logit),
    }
)
EXPLAINED: Mapping[str, Callable[[str, Explanations, int], Tensor | None]] = MappingProxyType(
    {
        "targets": _targets,
        "against": _against,
        "saliency": _saliency,
        "image": _image,
        "findings": _findings,
        "input": _input,
    }
)
OUTPUTS = (*PREDICTED, *EXPLAINED)
"""The names of all outputs."""

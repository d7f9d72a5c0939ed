"""Output tensors of the Open Inference Protocol: the results of N pictures, along the first axis."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.errors import bad_option
from torchserve_saliency.protocols.kserve_v2_binary import DTYPES, SIZE, to_binary
from torchserve_saliency.responses.drawing import draw_target
from torchserve_saliency.responses.explanation import Explanation, Prediction, TargetMap
from torchserve_saliency.responses.json_body import has_plain_view, too_large, value_range
from torchserve_saliency.responses.png import to_png

Explanations = Sequence[Explanation]


@dataclass(frozen=True)
class InferTensor:
    """A named output tensor: an array of finite numbers, or texts in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[np.generic] | list[str]

    def json(self) -> tuple[str, bytes]:
        """Return the tensor as JSON, and no binary data."""
        return f'{self._head({})[:-1]},"data":{self._data()}}}', b""

    def binary(self) -> tuple[str, bytes]:
        """Return the tensor as JSON without its values, and its values as binary data."""
        data = to_binary(self.datatype, self.values)
        return self._head({"parameters": {SIZE: len(data)}}), data

    def _head(self, more: Mapping[str, object]) -> str:
        fields = {"name": self.name, "datatype": self.datatype, "shape": self.shape, **more}
        return json.dumps(fields, separators=(",", ":"))

    def _data(self) -> str:
        """Return the values as a flat JSON list; nine digits identify a float32 exactly."""
        if isinstance(self.values, np.ndarray) and self.values.dtype == np.float32:
            return f"[{','.join(map('%.9g'.__mod__, self.values.ravel().tolist()))}]"
        values = self.values.ravel().tolist() if isinstance(self.values, np.ndarray) else self.values
        return json.dumps(values, allow_nan=False, separators=(",", ":"))


def check_length(length: int, limit: int) -> None:
    """Raise RequestError 413 for an answer that is longer than the limit."""
    if length > limit:
        raise too_large(length, limit, "fewer pictures or targets, or name the 'outputs' that are needed")


def output_tensors(
    predictions: Sequence[Sequence[Prediction]], explanations: Explanations, names: Collection[str], limit: int
) -> Iterator[InferTensor]:
    """Yield the tensors of an answer with these names, or all tensors without names; some do not exist in every answer.

    Raise RequestError 413 if a tensor is longer than the limit, 400 if the maps differ in size.
    """
    for name, (datatype, value) in PREDICTED.items():
        if not names or name in names:
            yield _tensor(name, datatype, [[value(one) for one in row] for row in predictions])
    for name, make in EXPLAINED.items() if explanations else ():
        if (not names or name in names) and (tensor := make(name, explanations, limit)):
            yield tensor


def _tensor(name: str, datatype: str, rows: Sequence[Sequence[object]]) -> InferTensor:
    """Return a tensor [rows, columns] of nested lists; short rows end in empty texts, or in -1 for no class."""
    columns = max(map(len, rows))
    padding = "" if datatype == "BYTES" else -1
    flat = [value for row in rows for value in (*row, *[padding] * (columns - len(row)))]
    values = [str(value) for value in flat] if datatype == "BYTES" else np.array(flat, DTYPES[datatype])
    return InferTensor(name, datatype, (len(rows), columns), values)


def _targets(name: str, explanations: Explanations, limit: int) -> InferTensor:
    """Return the class indices of the targets, [N, T]; -1 if another picture has more targets than this one."""
    return _tensor(name, "INT64", [[one.target.index for one in each.maps] for each in explanations])


def _against(name: str, explanations: Explanations, limit: int) -> InferTensor | None:
    """Return the class indices whose score is subtracted, [N, T], or None without option `against`."""
    rows = [[one.against.index for one in each.maps if one.against] for each in explanations]
    return _tensor(name, "INT64", rows) if any(rows) else None


def _saliency(name: str, explanations: Explanations, limit: int) -> InferTensor | None:
    """Return the maps, [N, T, H, W] or [N, T, C, H, W], zeros for missing targets, or None with `render=none`."""
    if explanations[0].view.render == "none":
        return None
    targets, empty = max(len(each.maps) for each in explanations), explanations[0].empty_map()
    maps = [one.saliency for each in explanations for one in each.maps]
    shape = maps[0].shape if maps else empty.shape
    if any(one.shape != shape for one in maps):
        raise bad_option("space", "pictures of several sizes have no common tensor: 'space' must be input")
    size = len(explanations) * targets * math.prod(shape)
    check_length(2 * size, limit)  # a value is at least a digit and a comma
    values = np.zeros((len(explanations), targets, *shape), np.float32)
    for row, each in zip(values, explanations, strict=True):
        for place, one in enumerate(each.maps):
            value_range(one.saliency)
            row[place] = one.saliency
    return InferTensor(name, "FP32", values.shape, values)


def _image(name: str, explanations: Explanations, limit: int) -> InferTensor | None:
    """Return PNG files as base64 texts [N, T], or None if `render` is none or the plain heatmap."""
    first = explanations[0]
    if first.view.render == "none" or has_plain_view(first):
        return None
    rows: list[list[str]] = []
    for each in explanations:
        rows.append([_png_text(one, each) for one in each.maps])
        check_length(sum(len(text) for row in rows for text in row), limit)
    return _tensor(name, "BYTES", rows)


def _png_text(one: TargetMap, explanation: Explanation) -> str:
    """Return a map drawn as a PNG file, as base64 text."""
    value_range(one.saliency)
    return b64encode(to_png(draw_target(one, explanation))).decode("ascii")


def _findings(name: str, explanations: Explanations, limit: int) -> InferTensor:
    """Return the findings of the method and the quality of each map, as JSON texts [N, T]."""
    return _tensor(name, "BYTES", [[_finding(one) for one in each.maps] for each in explanations])


def _finding(one: TargetMap) -> str:
    quality = {"quality": one.quality} if one.quality else {}
    return json.dumps({**one.findings, **quality}, allow_nan=False)


def _input(name: str, explanations: Explanations, limit: int) -> InferTensor:
    """Return the width and height of each picture, and the crop that the network saw, [N, 6]."""
    rows = [[*each.picture.original.size, *each.picture.crop] for each in explanations]
    return _tensor(name, "FP64", [[round(float(value), 4) for value in row] for row in rows])


# The tensors of every answer: the datatype, and the value of one prediction.
PREDICTED: Mapping[str, tuple[str, Callable[[Prediction], object]]] = MappingProxyType(
    {
        "labels": ("BYTES", lambda one: one.label),
        "indices": ("INT64", lambda one: one.index),
        "probabilities": ("FP64", lambda one: one.probability),
        "logits": ("FP64", lambda one: one.logit),
    }
)
# The further tensors of an answer with explanations; None if the tensor does not exist.
EXPLAINED: Mapping[str, Callable[[str, Explanations, int], InferTensor | None]] = MappingProxyType(
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

"""Tensors of the Open Inference Protocol: pictures out of the ones sent, text of the ones that are answered."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from saliency.errors import RequestError
from saliency.image import InputSpec
from saliency.model import Classifier
from saliency.modes import CHANNELS
from saliency.protocols.base import check_count, malformed
from saliency.protocols.binary import SIZE, raw
from saliency.schema import shown

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Tensor:
    """A named tensor of an answer: numbers, or texts in the shape's order, all of them finite."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[np.generic] | list[str]

    def json(self) -> tuple[str, bytes]:
        """Return the tensor as JSON, with nothing behind it."""
        return f'{self._head({})[:-1]},"data":{self._data()}}}', b""

    def binary(self) -> tuple[str, bytes]:
        """Return the tensor's JSON, and the data that follow it."""
        data = raw(self.datatype, self.values)
        return self._head({"parameters": {SIZE: len(data)}}), data

    def _head(self, more: Mapping[str, object]) -> str:
        said = {"name": self.name, "datatype": self.datatype, "shape": self.shape, **more}
        return json.dumps(said, separators=(",", ":"))

    def _data(self) -> str:
        """Return the values as a JSON list, flattened; a float32 in the nine digits that it reads back from."""
        if isinstance(self.values, np.ndarray) and self.values.dtype == np.float32:
            return f"[{','.join(map('%.9g'.__mod__, self.values.ravel().tolist()))}]"
        values = self.values.ravel().tolist() if isinstance(self.values, np.ndarray) else self.values
        return json.dumps(values, allow_nan=False, separators=(",", ":"))


def pictures(tensor: Mapping[str, object], classifier: Classifier) -> list[object]:
    """Return the pictures of an input tensor, each as `data` of a message.

    They are base64 texts, arrays uint8 [H, W, C], or arrays float32 [C, H, W] that are the network's input as it is.
    """
    datatype, shape = tensor.get("datatype"), _shape(tensor.get("shape"))
    check_count(shape[0], classifier, "inputs")
    reading = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if reading is None:
        raise malformed(f"datatype {shown(datatype)} is not one of {', '.join(DATATYPES)}", "inputs")
    return reading(tensor.get("data"), shape, classifier)


def _shape(value: object) -> tuple[int, ...]:
    whole = isinstance(value, list) and value and all(type(side) is int and 0 <= side < 1 << 31 for side in value)
    if not whole:
        raise malformed(f"'shape' must be a list of whole numbers, not {shown(value)}", "inputs")
    return tuple(cast("list[int]", value))


def _texts(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return base64 texts, or files sent as binary data, of a tensor [N] or [N, 1]."""
    given = data if isinstance(data, list) else []
    rows = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in given]
    if len(rows) != shape[0] or math.prod(shape) != shape[0] or not all(isinstance(row, str | bytes) for row in rows):
        raise malformed("a BYTES tensor must be [N], with as many base64 texts in 'data'", "inputs")
    return rows


def _bytes(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays uint8 [H, W, C]; RequestError 413 for too many pixels."""
    if len(shape) != 4 or shape[3] not in CHANNELS:
        raise malformed("a UINT8 tensor must be [N, H, W, C], with 1, 3 or 4 channels", "inputs")
    limit = classifier.limits.shared(shape[0]).max_pixels
    if shape[1] * shape[2] > limit:
        said = f"a picture has {shape[1] * shape[2]:,} pixels, and the limit is {limit:,} (max_pixels)"
        raise RequestError(413, "ImageTooLargeException", said, "inputs")
    values = _values(data, shape, "iu")
    if not 0 <= int(values.min()) <= int(values.max()) <= 255:
        raise malformed("the values of a UINT8 tensor must be 0 to 255", "inputs")
    return list(values.astype(np.uint8))


def _floats(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays float32 [C, H, W] of the network's own size."""
    wanted = _sides(classifier.input)
    if shape[1:] != wanted:
        raise malformed(f"an FP32 tensor must be the network's input, {['N', *wanted]}, not {list(shape)}", "inputs")
    values = _values(data, shape, "iuf").astype(np.float64)
    if not bool((np.abs(values) <= LARGEST).all()):
        raise malformed("the values of an FP32 tensor must be finite", "inputs")
    return list(values.astype(np.float32))


def _sides(spec: InputSpec) -> tuple[int, int, int]:
    return spec.channels, *spec.size


def _values(data: object, shape: tuple[int, ...], kinds: str) -> NDArray[np.generic]:
    """Return the numbers of a list, flat or nested, as an array of the tensor's shape."""
    values = data if isinstance(data, np.ndarray) else _numbers(data)
    count = math.prod(shape)
    if values.dtype.kind not in kinds or values.size != count or not count or values.shape not in ((count,), shape):
        raise malformed(f"'data' must hold {count:,} numbers, as 'shape' says, flat or nested", "inputs")
    return values.reshape(shape)


def _numbers(data: object) -> NDArray[np.generic]:
    """Return a list's numbers in its shape, and nothing for what is no list of whole or real numbers.

    As objects first: numpy would write every text as wide as the longest before it could be told that there are any.
    """
    nothing = np.empty(0, object)
    try:
        given = np.asarray(data, object) if isinstance(data, list) else nothing
        kinds = set(map(type, given.ravel().tolist()))
        return given.astype(np.int64 if kinds == {int} else np.float64) if kinds <= {int, float} else nothing
    except (ValueError, OverflowError):  # lists of different lengths, nested beyond numpy's limit, or 10 ** 400
        return nothing


DATATYPES: Mapping[str, Callable[[object, tuple[int, ...], Classifier], list[object]]] = MappingProxyType(
    {"BYTES": _texts, "UINT8": _bytes, "FP32": _floats}
)

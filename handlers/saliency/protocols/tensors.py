"""Tensors of the Open Inference Protocol: pictures out of the ones sent, text of the ones that are answered."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
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
from saliency.schema import shown

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Tensor:
    """A named tensor of an answer; `data` is the JSON list of its values, flattened."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: str

    def text(self) -> str:
        """Return the tensor as JSON."""
        head = json.dumps({"name": self.name, "datatype": self.datatype, "shape": self.shape}, separators=(",", ":"))
        return f'{head[:-1]},"data":{self.data}}}'


def written(name: str, datatype: str, shape: Sequence[int], values: Sequence[object]) -> Tensor:
    """Return a tensor of values that JSON has: texts, or numbers; ValueError where one is not finite."""
    return Tensor(name, datatype, tuple(shape), json.dumps(values, allow_nan=False, separators=(",", ":")))


def reals(values: NDArray[np.float32]) -> str:
    """Return finite float32 values as text that reads back as the same values, separated by commas."""
    return ",".join(map("%.9g".__mod__, values.ravel().tolist()))


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
    """Return base64 texts of a tensor [N] or [N, 1]."""
    given = data if isinstance(data, list) else []
    rows = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in given]
    if len(rows) != shape[0] or math.prod(shape) != shape[0] or not all(isinstance(row, str) for row in rows):
        raise malformed("a BYTES tensor must be [N], with as many base64 texts in 'data'", "inputs")
    return rows


def _bytes(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays uint8 [H, W, C]; RequestError 413 for too many pixels."""
    if len(shape) != 4 or shape[3] not in CHANNELS:
        raise malformed("a UINT8 tensor must be [N, H, W, C], with 1, 3 or 4 channels", "inputs")
    limit = classifier.limits.max_pixels
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
    try:
        values = np.asarray(data if isinstance(data, list) else None)
    except (ValueError, OverflowError):  # lists of different lengths, or nested beyond numpy's limit
        values = np.empty(0, object)
    count = math.prod(shape)
    if values.dtype.kind not in kinds or values.size != count or not count or values.shape not in ((count,), shape):
        raise malformed(f"'data' must hold {count:,} numbers, as 'shape' says, flat or nested", "inputs")
    return values.reshape(shape)


DATATYPES: Mapping[str, Callable[[object, tuple[int, ...], Classifier], list[object]]] = MappingProxyType(
    {"BYTES": _texts, "UINT8": _bytes, "FP32": _floats}
)

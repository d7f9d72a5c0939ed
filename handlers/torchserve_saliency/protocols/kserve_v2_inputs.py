"""Input tensors of the Open Inference Protocol: the pictures that a client sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.pixel_modes import CHANNELS
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols.call import check_count, malformed
from torchserve_saliency.schema import shown

LARGEST = float(np.finfo(np.float32).max)


def read_pictures(tensor: Mapping[str, object], classifier: Classifier) -> list[object]:
    """Return the pictures of an input tensor, each for the field `data` of a message.

    They are base64 texts, image files, pixels uint8 [H, W, C], or preprocessed inputs float32 [C, H, W].
    """
    datatype, shape = tensor.get("datatype"), _shape(tensor.get("shape"))
    check_count(shape[0], classifier, "inputs")
    read = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if read is None:
        raise malformed(f"datatype {shown(datatype)} is not one of {', '.join(DATATYPES)}", "inputs")
    return read(tensor.get("data"), shape, classifier)


def _shape(value: object) -> tuple[int, ...]:
    """Return the shape of a tensor; raise RequestError 400 if it is not a list of whole numbers."""
    whole = isinstance(value, list) and value and all(type(side) is int and 0 <= side < 1 << 31 for side in value)
    if not whole:
        raise malformed(f"'shape' must be a list of whole numbers, not {shown(value)}", "inputs")
    return tuple(cast("list[int]", value))


def _texts(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return the base64 texts, or the image files sent as binary data, of a tensor [N] or [N, 1]."""
    given = data if isinstance(data, list) else []
    rows = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in given]
    if len(rows) != shape[0] or math.prod(shape) != shape[0] or not all(isinstance(row, str | bytes) for row in rows):
        raise malformed("a BYTES tensor must be [N], with as many base64 texts in 'data'", "inputs")
    return rows


def _bytes(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays uint8 [H, W, C]; raise RequestError 413 for too many pixels."""
    if len(shape) != 4 or shape[3] not in CHANNELS:
        raise malformed("a UINT8 tensor must be [N, H, W, C], with 1, 3 or 4 channels", "inputs")
    limit = classifier.limits.per_picture(shape[0]).max_pixels
    if shape[1] * shape[2] > limit:
        message = f"a picture has {shape[1] * shape[2]:,} pixels, and the limit is {limit:,} (max_pixels)"
        raise RequestError(413, "ImageTooLargeException", message, "inputs")
    values = _values(data, shape, "iu")
    if not 0 <= int(values.min()) <= int(values.max()) <= 255:
        raise malformed("the values of a UINT8 tensor must be 0 to 255", "inputs")
    return list(values.astype(np.uint8))


def _floats(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays float32 [C, H, W] of the network's input size."""
    expected = _sides(classifier.input)
    if shape[1:] != expected:
        raise malformed(f"an FP32 tensor must be the network's input, {['N', *expected]}, not {list(shape)}", "inputs")
    values = _values(data, shape, "iuf").astype(np.float64)
    if not bool((np.abs(values) <= LARGEST).all()):
        raise malformed("the values of an FP32 tensor must be finite", "inputs")
    return list(values.astype(np.float32))


def _sides(spec: InputSpec) -> tuple[int, int, int]:
    return spec.channels, *spec.size


def _values(data: object, shape: tuple[int, ...], kinds: str) -> NDArray[np.generic]:
    """Return the numbers of a flat or nested list as an array of the tensor's shape."""
    values = data if isinstance(data, np.ndarray) else _numbers(data)
    count = math.prod(shape)
    if values.dtype.kind not in kinds or values.size != count or not count or values.shape not in ((count,), shape):
        raise malformed(f"'data' must hold {count:,} numbers, as 'shape' says, flat or nested", "inputs")
    return values.reshape(shape)


def _numbers(data: object) -> NDArray[np.generic]:
    """Return a list of numbers as an array int64 or float64 of its shape, or an empty array if it is anything else.

    The array is of Python objects first, as numpy would pad every text in the list to the length of the longest.
    """
    empty = np.empty(0, object)
    try:
        objects = np.asarray(data, object) if isinstance(data, list) else empty
        types = set(map(type, objects.ravel().tolist()))
        return objects.astype(np.int64 if types == {int} else np.float64) if types <= {int, float} else empty
    except (ValueError, OverflowError):  # lists of unequal lengths, lists nested too deep for numpy, or 10 ** 400
        return empty


DATATYPES: Mapping[str, Callable[[object, tuple[int, ...], Classifier], list[object]]] = MappingProxyType(
    {"BYTES": _texts, "UINT8": _bytes, "FP32": _floats}
)

"""Input tensors of the Open Inference Protocol: the pictures that a client sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.errors import RequestError
from torchserve_saliency.images.pixel_modes import CHANNELS, no_picture_error
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols.call import check_count, malformed
from torchserve_saliency.requests.picture_data import has_magic_number
from torchserve_saliency.schema import shown

Reader = Callable[[object, tuple[int, ...], Classifier], list[object]]
LARGEST = float(np.finfo(np.float32).max)


def read_pictures(tensor: Mapping[str, object], classifier: Classifier) -> list[object]:
    """Return the pictures of an input tensor, each for the field `data` of a message.

    They are base64 texts, image files, pixels uint8 [H, W, C], or preprocessed inputs float32 [C, H, W]. One side of
    the shape may be -1: it follows from the number of values. A single picture may come without the first axis.
    """
    datatype = tensor.get("datatype")
    name = datatype.strip().upper() if isinstance(datatype, str) else None
    read = DATATYPES.get(name) if name else None
    if read is None:
        kinds = "BYTES for picture files, UINT8 for pixels [N, H, W, C], FP32 for the network's input [N, C, H, W]"
        raise malformed(f"datatype {shown(datatype)} is not taken: it must be {kinds}", "inputs")
    shape, data = _shape(tensor.get("shape")), tensor.get("data")
    if read is not _texts:
        shape = _batched(shape, read)
    if -1 in shape:
        data = _listed(data) if read is _texts else _numbers(data)
        shape = _inferred(shape, len(data) if isinstance(data, list) else data.size)
    if read is _texts or len(shape) == 4:
        check_count(shape[0] if shape else 1, classifier, "inputs")
    return read(data, shape, classifier)


def _shape(value: object) -> tuple[int, ...]:
    """Return the shape of a tensor, with at most one -1; raise RequestError 400 if it is anything else."""
    whole = isinstance(value, list) and all(type(side) is int and -1 <= side < 1 << 31 for side in value)
    if not whole or cast("list[int]", value).count(-1) > 1:
        raise malformed(
            f"'shape' must be a list of whole numbers, at most one of them -1, not {shown(value)}", "inputs"
        )
    return tuple(cast("list[int]", value))


def _batched(shape: tuple[int, ...], read: Reader) -> tuple[int, ...]:
    """Return the shape of a tensor with a first axis for the pictures: [C, H, W] and [H, W, C] are one picture."""
    return (1, *shape) if len(shape) == 3 and read in (_floats, _bytes) else shape


def _inferred(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return a shape with its -1 replaced, so that it has `count` values; 0 if there is no such shape."""
    others = math.prod(side for side in shape if side != -1)
    missing = count // others if others and count % others == 0 else 0
    return tuple(missing if side == -1 else side for side in shape)


def _listed(data: object) -> list[object]:
    """Return the data of a BYTES tensor as a flat list; a single text is a list of one."""
    if isinstance(data, str | bytes | dict):
        return [data]
    given = data if isinstance(data, list) else []
    return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in given]


def _texts(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return the base64 texts, or the image files sent as binary data, of a tensor [N] or [N, 1], or of a single one.

    An element may also be `{"b64": …}`.
    """
    rows, count = _listed(data), math.prod(shape)
    fits = len(rows) == count and (not shape or shape[0] == count)
    if not rows or not fits or not all(isinstance(row, str | bytes | dict) for row in rows):
        raise malformed("a BYTES tensor must be [N], with as many base64 texts in 'data'", "inputs")
    return rows


def _bytes(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays uint8 [H, W, C], or the bytes of picture files.

    Raise RequestError 413 for too many pixels, 422 if the network takes no pictures.
    """
    if classifier.input.channels not in CHANNELS:
        raise no_picture_error(classifier.input.channels)
    if len(shape) in (1, 2) and (files := _files(data, shape, classifier)):
        return files
    if len(shape) != 4 or shape[3] not in CHANNELS:
        message = "a UINT8 tensor must be [N, H, W, C], or [H, W, C] for one picture, with 1, 3 or 4 channels"
        raise malformed(message, "inputs")
    limit = classifier.limits.per_picture(shape[0]).max_pixels
    if shape[1] * shape[2] > limit:
        message = f"a picture has {shape[1] * shape[2]:,} pixels, and the limit is {limit:,} (max_pixels)"
        raise RequestError(413, "ImageTooLargeException", message, "inputs")
    values = _values(data, shape, "iu")
    if not 0 <= int(values.min()) <= int(values.max()) <= 255:
        raise malformed("the values of a UINT8 tensor must be 0 to 255", "inputs")
    return list(values.astype(np.uint8))


def _files(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return the bytes of picture files in a tensor [N, length] or [length], as Triton's clients send them, if any."""
    values = _numbers(data)
    if values.dtype.kind not in "iu" or values.size != math.prod(shape) or not values.size:
        return []
    rows = values.reshape(1, -1) if len(shape) == 1 else values.reshape(shape)
    if not 0 <= int(rows.min()) <= int(rows.max()) <= 255:
        return []
    files: list[object] = [row.astype(np.uint8).tobytes() for row in rows]
    if not all(has_magic_number(file) for file in files if isinstance(file, bytes)):
        return []
    check_count(len(files), classifier, "inputs")
    return files


def _floats(data: object, shape: tuple[int, ...], classifier: Classifier) -> list[object]:
    """Return arrays float32 [C, H, W] of the network's input size."""
    expected = _sides(classifier.input)
    if shape[1:] != expected:
        needed = f"[N, {', '.join(map(str, expected))}], or {list(expected)} for one picture"
        message = f"an FP32 tensor must be the network's input, {needed}, not {list(shape)}; pixels are sent as UINT8"
        raise malformed(message, "inputs")
    values = _values(data, shape, "iuf").astype(np.float64)
    if not bool((np.abs(values) <= LARGEST).all()):
        raise malformed("the values of an FP32 tensor must be finite", "inputs")
    return list(values.astype(np.float32))


def _sides(spec: InputSpec) -> tuple[int, int, int]:
    return spec.channels, *spec.size


def _values(data: object, shape: tuple[int, ...], kinds: str) -> NDArray[np.generic]:
    """Return the numbers of a flat or nested list as an array of the tensor's shape."""
    values = _numbers(data)
    count = math.prod(shape)
    shapes = ((count,), shape, shape[1:] if shape[0] == 1 else shape)
    if values.dtype.kind not in kinds or values.size != count or not count or values.shape not in shapes:
        numbers = "numbers" if "f" in kinds else "whole numbers"
        raise malformed(f"'data' must hold {count:,} {numbers}, as 'shape' says, flat or nested", "inputs")
    return values.reshape(shape)


def _numbers(data: object) -> NDArray[np.generic]:
    """Return an array, or a list of numbers as an array int64 or float64 of its shape; if it is neither, an empty one.

    The array is of Python objects first, as numpy would pad every text in the list to the length of the longest.
    """
    if isinstance(data, np.ndarray):
        return data
    empty = np.empty(0, object)
    try:
        objects = np.asarray(data, object) if isinstance(data, list) else empty
        types = set(map(type, objects.ravel().tolist()))
        return objects.astype(np.int64 if types == {int} else np.float64) if types <= {int, float} else empty
    except (ValueError, OverflowError):  # lists of unequal lengths, lists nested too deep for numpy, or 10 ** 400
        return empty


DATATYPES: Mapping[str, Reader] = MappingProxyType(
    {"BYTES": _texts, "UINT8": _bytes, "FP32": _floats, "FP64": _floats, "FP16": _floats}
)

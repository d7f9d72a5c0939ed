"""The binary extension of the Open Inference Protocol: JSON, followed by the raw data of the tensors."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from torchserve_saliency.protocols.call import malformed, parse_json

LENGTH = "Inference-Header-Content-Length"
SIZE = "binary_data_size"
DTYPES: Mapping[str, str] = MappingProxyType(
    {"UINT8": "|u1", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
)


def unpack(body: bytes, length: str) -> dict[str, object]:
    """Return the JSON in the first `length` bytes of a body, with the binary data of each tensor as its `data`."""
    if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= len(body)):
        raise malformed(f"header {LENGTH} must be the length of the JSON before the tensors")
    content, rest = parse_json(body[: int(length)]), memoryview(body)[int(length) :]
    tensors = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(tensors, list):
        raise malformed("the JSON before the tensors must be an object with 'inputs'")
    inputs = []
    for tensor in tensors:
        size = _size(tensor)
        inputs.append(tensor if size is None else _with_data(tensor, rest[:size], size))
        rest = rest[size or 0 :]
    if rest:
        raise malformed(f"{len(rest):,} bytes follow the data of the last tensor", SIZE)
    return {**content, "inputs": inputs}


def _size(tensor: object) -> int | None:
    """Return the number of bytes of a tensor's binary data, or None for a tensor with its data in the JSON."""
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.get(SIZE) if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise malformed(f"'{SIZE}' must be a number of bytes", SIZE)
    return size


def _with_data(tensor: dict[str, object], data: memoryview, size: int) -> dict[str, object]:
    """Return a tensor with its binary data, and without the parameter that gives their size."""
    datatype, parameters = tensor.get("datatype"), tensor["parameters"]
    if len(data) != size:
        raise malformed(f"'{SIZE}' is {size:,}, but only {len(data):,} bytes follow", SIZE)
    assert isinstance(parameters, dict)
    others = {name: value for name, value in parameters.items() if name != SIZE}
    return {
        **tensor,
        "parameters": others,
        "data": list(_texts(data)) if datatype == "BYTES" else _array(data, datatype),
    }


def _array(data: memoryview, datatype: object) -> NDArray[np.generic] | None:
    """Return binary data as numbers, or None for an unknown datatype or an incomplete number."""
    dtype = np.dtype(DTYPES[datatype]) if isinstance(datatype, str) and datatype in DTYPES else None
    if dtype is None or len(data) % dtype.itemsize:
        return None
    return np.frombuffer(data, dtype)


def _texts(data: memoryview) -> Iterator[bytes]:
    """Yield the elements of a BYTES tensor, each of which follows its length in four bytes."""
    while data:
        size = struct.unpack("<I", data[:4])[0] if len(data) >= 4 else len(data)
        if len(data) < 4 + size:
            raise malformed("an element of the binary data is longer than the data", SIZE)
        yield bytes(data[4 : 4 + size])
        data = data[4 + size :]


def to_binary(datatype: str, values: NDArray[np.generic] | Sequence[str]) -> bytes:
    """Return the values of a tensor as binary data: numbers in little-endian order, or texts, each after its length."""
    if isinstance(values, np.ndarray):
        return values.astype(DTYPES[datatype], copy=False).tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)

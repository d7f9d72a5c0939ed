"""The binary extension of the Open Inference Protocol: JSON first, then the tensors' data as they lie in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from saliency.message import parsed
from saliency.protocols.base import malformed

LENGTH = "Inference-Header-Content-Length"
SIZE = "binary_data_size"
DTYPES: Mapping[str, str] = MappingProxyType({"UINT8": "|u1", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"})


def unpacked(body: bytes, length: str) -> dict[str, object]:
    """Return the JSON of a body, `length` bytes long, each tensor's binary data as its `data`."""
    if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= len(body)):
        raise malformed(f"header {LENGTH} must be the length of the JSON before the tensors")
    said, rest = parsed(body[: int(length)]), memoryview(body)[int(length) :]
    tensors = said.get("inputs") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(tensors, list):
        raise malformed("the JSON before the tensors must be an object with 'inputs'")
    inputs = []
    for tensor in tensors:
        size = _size(tensor)
        inputs.append(tensor if size is None else _filled(tensor, rest[:size], size))
        rest = rest[size or 0 :]
    if rest:
        raise malformed(f"{len(rest):,} bytes are left behind the tensors", SIZE)
    return {**said, "inputs": inputs}


def _size(tensor: object) -> int | None:
    """Return how many bytes of a tensor's data follow the JSON, None where they stand in it."""
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.get(SIZE) if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise malformed(f"'{SIZE}' must be a number of bytes", SIZE)
    return size


def _filled(tensor: dict[str, object], data: memoryview, size: int) -> dict[str, object]:
    """Return a tensor with its data, and without the parameter that announced them."""
    datatype, parameters = tensor.get("datatype"), tensor["parameters"]
    if len(data) != size:
        raise malformed(f"{size:,} bytes were announced and {len(data):,} came", SIZE)
    assert isinstance(parameters, dict)
    left = {name: value for name, value in parameters.items() if name != SIZE}
    return {**tensor, "parameters": left, "data": list(_texts(data)) if datatype == "BYTES" else _array(data, datatype)}


def _array(data: memoryview, datatype: object) -> NDArray[np.generic] | None:
    """Return numbers as they lie in memory; None where no datatype of ours says what they are."""
    dtype = np.dtype(DTYPES[datatype]) if isinstance(datatype, str) and datatype in DTYPES else None
    if dtype is None or len(data) % dtype.itemsize:
        return None
    return np.frombuffer(data, dtype)


def _texts(data: memoryview) -> Iterator[bytes]:
    """Yield elements, each behind its length in four bytes."""
    while data:
        size = struct.unpack("<I", data[:4])[0] if len(data) >= 4 else len(data)
        if len(data) < 4 + size:
            raise malformed("an element of the binary data is longer than the data", SIZE)
        yield bytes(data[4 : 4 + size])
        data = data[4 + size :]


def raw(datatype: str, values: NDArray[np.generic] | Sequence[str]) -> bytes:
    """Return a tensor's values as they lie in memory, texts each behind its length in four bytes."""
    if isinstance(values, np.ndarray):
        return values.astype(DTYPES[datatype], copy=False).tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)

"""Pictures as Python programs hold them: a path, bytes, an open file, a Pillow image, an array or a tensor."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.images.decoding import upright
from torchserve_saliency.images.pixel_modes import CHANNELS

Pixels = NDArray[np.uint8]
NetworkInput = NDArray[np.float32]
PictureLike = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any] | Tensor
"""A picture: a path, the bytes of a file, an open file, a Pillow image, an array or a tensor (see `read_kind`)."""

_KINDS = "a path, bytes, an open file, a PIL.Image, a numpy array or a torch tensor"
_RANGES: Mapping[str, str] = MappingProxyType(
    {
        "f": "a float array must hold values from 0 to 1 (pixels / 255); use uint8 for values from 0 to 255",
        "iu": "an array of whole numbers must hold values from 0 to 255",
    }
)


class PictureTypeError(RequestError, TypeError):
    """The 400 for a value of a type that is no picture."""


def read_kind(picture: object) -> bytes | Image.Image | NetworkInput:
    """Return a picture as the bytes of a file, as an upright Pillow image, or as the network's own input.

    - A path is read, and so is a file that is open for reading bytes.
    - A Pillow image may have any mode. Its EXIF orientation is applied, as that of a file is.
    - An array is [H, W], or [H, W, C] with 1, 3 or 4 channels: whole numbers from 0 to 255, or floats from 0 to 1. An
      array uint16 [H, W] is a picture of 16 bits.
    - A tensor uint8 [C, H, W] is a picture. A float tensor [C, H, W] or [1, C, H, W] is the input of the network, and
      is returned as an array float32 [C, H, W].

    Raise PictureTypeError for another type, RequestError 400 for an array or tensor of another shape or range, 415 for
    a broken Pillow image, and OSError for a file that cannot be read.
    """
    if isinstance(picture, str | os.PathLike):
        return _read_path(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, Image.Image):
        return _loaded(picture)
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, Tensor):
        return _from_tensor(picture)
    if hasattr(picture, "read"):
        return _read_file(picture)
    if hasattr(picture, "__array__"):  # of another library
        return _from_array(np.asarray(picture))
    if isinstance(picture, list | tuple):
        raise _type_error(
            "one picture is expected, not a list; use explain_many for several, or numpy.asarray for pixels"
        )
    raise _type_error(f"a picture must be {_KINDS}, not {type(picture).__name__}")


def _type_error(message: str) -> PictureTypeError:
    return PictureTypeError(400, "BadOptionException", message, "data")


def _read_path(picture: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file; the address of a web page is refused."""
    text = os.fspath(picture)
    if text[:8].lower().startswith(("http://", "https://")):
        raise bad_option("data", "a picture is read from a file, not from the web: download it first")
    return Path(text).read_bytes()


def _read_file(file: Any) -> bytes:
    """Return the rest of a file; if there is none, as after writing, return all of it."""
    data = file.read()
    if not data and hasattr(file, "seek"):
        file.seek(0)
        data = file.read()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _type_error("the file is open for reading text: open it with mode 'rb'")
    return bytes(data)


def _loaded(image: Image.Image) -> Image.Image:
    """Return an image with its pixels decoded, upright."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise almost anything on broken data
        message = "the pixels of the Pillow image cannot be read: its file is truncated or broken, or has been closed"
        raise RequestError(415, "TruncatedImageException", message, "data") from error
    if min(image.size) < 1:
        raise RequestError(415, "UnsupportedImageException", f"the picture is empty: {image.size} pixels", "data")
    return upright(image)


def _from_array(values: NDArray[Any]) -> Image.Image:
    """Return the Pillow image of an array."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    is_picture = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in CHANNELS)
    if not is_picture or not values.size:
        raise bad_option("data", _shape_message(values.shape))
    if values.ndim == 2 and (values.dtype.kind, values.dtype.itemsize) == ("u", 2):
        return Image.fromarray(np.ascontiguousarray(values.astype(np.uint16)))  # in the machine's byte order
    return Image.fromarray(_to_bytes(values))


def _shape_message(shape: tuple[int, ...]) -> str:
    """Return the message for an array of a shape that no picture has."""
    message = f"an array must be [height, width] or [height, width, 3 or 4], not {list(shape)}"
    if len(shape) == 3 and shape[0] in CHANNELS:
        hint = "; move its channels to the end, array.transpose(1, 2, 0), if it is a picture"
        return message + hint + "; if it is the network's input, make it a tensor: torch.from_numpy(array)"
    return message + ("; use explain_many for several pictures" if len(shape) == 4 else "")


def _to_bytes(values: NDArray[Any]) -> Pixels:
    """Return an array as levels from 0 to 255; raise RequestError 400 for values outside of their range."""
    kind = values.dtype.kind
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if kind not in "iuf":
        raise _type_error(f"an array must be of whole numbers or floats, not of {values.dtype}")
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= (1 if kind == "f" else 255):  # this is so for NaN, too
        rule = _RANGES["f" if kind == "f" else "iu"]
        raise bad_option("data", f"{rule}; this one, {values.dtype}, has values from {low:g} to {high:g}")
    levels = np.rint(values.astype(np.float64) * 255) if kind == "f" else values
    return np.ascontiguousarray(levels.astype(np.uint8))


def _from_tensor(tensor: Tensor) -> Image.Image | NetworkInput:
    """Return the image of a tensor uint8 [C, H, W], or the array of a network's input."""
    values = tensor.detach().cpu()
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.dtype == torch.uint8:
        if values.ndim == 3 and values.shape[0] in CHANNELS and values.numel():
            return _from_array(values.permute(1, 2, 0).numpy())
        message = f"a uint8 tensor must be a picture [3, height, width], not {list(tensor.shape)}"
        if values.ndim == 3 and values.shape[2] in CHANNELS:
            message += "; move its channels to the front: tensor.permute(2, 0, 1)"
        raise bad_option("data", message + ("; use explain_many for several" if values.ndim == 4 else ""))
    if not values.is_floating_point():
        raise _type_error(f"a tensor must be float (the network's input) or uint8 (pixels), not {tensor.dtype}")
    if values.ndim != 3:
        message = f"a float tensor must be one input of the network, [C, H, W], not {list(tensor.shape)}"
        raise bad_option("data", message + ("; use explain_many for several" if values.ndim == 4 else ""))
    if not torch.isfinite(values).all():
        raise bad_option("data", "the values of the tensor must be finite")
    return values.to(torch.float32).contiguous().numpy()


def to_file(picture: bytes | Image.Image) -> bytes:
    """Return a picture as the bytes of a file without loss: PNG, or TIFF for modes that PNG does not have."""
    if isinstance(picture, bytes):
        return picture
    file = io.BytesIO()
    if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        picture.save(file, "PNG", compress_level=1)
    else:
        plain = picture if picture.mode in ("CMYK", "F", "I", "LAB", "YCbCr") else picture.convert("RGBA")
        plain.save(file, "TIFF")
    return file.getvalue()

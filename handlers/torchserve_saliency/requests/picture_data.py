"""The picture of a request: found among the fields, and its file taken out of base64 text, a data URL or an object."""

from __future__ import annotations

import base64
import binascii
import re
import string
from urllib.parse import unquote

import numpy as np

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.images.decoding import MAGIC_NUMBERS, REFUSED_MAGIC_NUMBERS
from torchserve_saliency.spelling import spelling_key

# names under which clients of other servers send a picture, without case and separators
_PICTURE_NAMES = frozenset(
    [
        "b64",
        "base64",
        "bytes",
        "content",
        "data",
        "file",
        "fileupload",
        "files",
        "image",
        "image0",
        "imageb64",
        "imagebase64",
        "imagebytes",
        "imagedata",
        "imagefile",
        "images",
        "img",
        "inputimage",
        "photo",
        "pic",
        "picture",
        "pictures",
        "upload",
    ]
)
_OBJECT_KEYS = ("b64", "base64", "bytes", "image_bytes", "content", "data")  # of an object with one field, base64 text
_DATA_URL = re.compile(rb"(?:b?[\"'])?data:[^,]{0,200},", re.IGNORECASE)
_TEXT_BYTES = (string.ascii_letters + string.digits + string.whitespace + "+/_%-=\"'").encode()
_QUOTED = re.compile(r"b?([\"'])(.*)\1", re.DOTALL)  # as JSON or Python write a text, or Python bytes
_MAGIC = tuple((offset, magic) for offset, magic, _ in (*MAGIC_NUMBERS, *REFUSED_MAGIC_NUMBERS))
NO_TEXT = (b"\xff", b"\x89", b"\0")  # first bytes of JPEG, PNG and others that no text begins with
_SHORTEST = 64  # characters of a base64 text that is taken for a picture in a field with any name


def is_picture(name: str, value: object) -> bool:
    """Tell if a field that is no option holds the picture: by its name, or because its value is one."""
    if isinstance(value, np.ndarray):
        return True
    if spelling_key(name) in _PICTURE_NAMES:
        return isinstance(value, str | bytes | bytearray | dict | list)
    if isinstance(value, dict):
        return len(value) == 1 and next(iter(value)) in _OBJECT_KEYS
    if isinstance(value, str):
        return len(value) >= _SHORTEST and _is_encoded_picture(value)
    return isinstance(value, bytes | bytearray) and _is_picture_file(bytes(value))


def _is_picture_file(data: bytes) -> bool:
    """Tell if a form field is a picture, or base64 text of one; a field that is no text cannot be an option."""
    if has_magic_number(data):
        return True
    try:
        return len(data) >= _SHORTEST and _is_encoded_picture(data.decode("utf-8"))
    except UnicodeDecodeError:
        return True


def _is_encoded_picture(text: str) -> bool:
    """Tell if a text is base64 of a picture."""
    if text.lstrip()[:11].lower() == "data:image/":
        return True
    try:
        return has_magic_number(_decode_base64(text))
    except RequestError:
        return False


def has_magic_number(data: bytes) -> bool:
    """Tell if the first bytes are those of a picture format, accepted or not."""
    return any(data[offset : offset + len(magic)] == magic for offset, magic in _MAGIC)


def file_bytes(data: object) -> bytes:
    """Return the bytes of an image file that was sent raw, as base64 text, as a data URL, or as `{"b64": …}`.

    Base64 text may also be the content of a file or a form field. A list with one of these is accepted.
    """
    if data is None:
        raise bad_option("data", "no 'data': no picture was sent")
    if isinstance(data, list):
        data = _only(data)
    if isinstance(data, dict) and len(data) == 1 and next(iter(data)) in _OBJECT_KEYS:
        (data,) = data.values()
    if isinstance(data, bytes | bytearray):
        if not data:
            raise bad_option("data", "'data' is empty")
        return _decoded_if_text(bytes(data))
    if not isinstance(data, str) or not data:
        raise bad_option("data", "'data' must be a picture, or base64 text of one, or {\"b64\": …}")
    return _decode_base64(data)


def _only(pictures: list[object]) -> object:
    """Return the only picture of a list; raise RequestError 400 for more or fewer, and for a list of numbers."""
    if len(pictures) != 1 or isinstance(pictures[0], int | float | list):
        message = (
            f"'data' is a list of {len(pictures):,}, and must be one picture: base64 text or {{\"b64\": …}}; several "
            "pictures are sent as 'instances', pixels as a tensor in 'inputs'"
        )
        raise bad_option("data", message)
    return pictures[0]


def _decoded_if_text(data: bytes) -> bytes:
    """Return the bytes of a file; if they are base64 text of a picture, or a data URL, return those of the picture.

    A file that is only text cannot be a picture of an accepted format, so there is one reading. Raise RequestError 400
    for a data URL that is not valid; other text is no picture.
    """
    if data[:1] in NO_TEXT:
        return data
    text = data.strip()
    url = _DATA_URL.match(text)
    if text[url.end() if url else 0 :].translate(None, _TEXT_BYTES):  # not a regular expression, which can backtrack
        return data
    try:
        decoded = _decode_base64(text.decode("ascii", "replace"))
    except RequestError:
        if url:
            raise
        return data
    return decoded if url or has_magic_number(decoded) else data


def _decode_base64(text: str) -> bytes:
    """Return the bytes of base64 text or a data URL; raise RequestError 400 if the text is not valid.

    The alphabet for URLs, missing padding, percent-encoding, quotes around the text, and `+` that a form has turned
    into a space are accepted.
    """
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2].strip()
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    elif re.match("[a-zA-Z]{2,8}://", text):
        raise bad_option("data", "'data' is an address, and no address is fetched: send the picture itself")
    text = _without_spaces(unquote(text))
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise bad_option("data", "'data' is not valid base64") from None


def _without_spaces(text: str) -> str:
    """Return base64 text without line breaks; spaces are `+` again, unless they separate lines of equal length.

    A form of type application/x-www-form-urlencoded turns `+` into a space.
    """
    lines = ["".join(line.split()) for line in text.split(" ")]
    if len(lines) > 1:
        is_wrapped = len({len(line) for line in lines[:-1]}) == 1 and sum(map(len, lines)) % 4 == 0
        return "".join(lines) if is_wrapped else "+".join(lines)
    return lines[0]

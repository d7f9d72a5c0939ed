"""One fuzz target under atheris: `python scripts/harness.py image|request` and arguments of libFuzzer.

Python code of the engine and of Pillow is instrumented; the native decoders (libjpeg, libwebp, …) are not, so that
inside of these, inputs are found by chance alone.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import atheris
import torch

with atheris.instrument_imports(include=["saliency", "PIL"], enable_loader_override=False):
    from PIL import Image

    Image.init()  # imports the readers of every format
    from saliency.image import InputSpec, decode
    from saliency.message import Message
    from saliency.protocols import read_call
    from saliency.request import read_query
    from saliency.response import error_response

from saliency.errors import RequestError
from saliency.model import Classifier
from scripts.corpus.contract import error_faults
from scripts.corpus.entry import REFUSALS
from scripts.corpus.network import small_classifier
from scripts.corpus.pictures import saved, scene

SPEC = InputSpec((16, 16), (20,))
MAX_PIXELS = 250_000
CONTENT_TYPES = ("", "application/json", "text/plain", "image/png")
PICTURE = saved(scene(), "PNG")


def image(data: bytes) -> None:
    """Decode a picture; anything but a picture or a refusal of the contract is a finding."""
    try:
        picture = decode(data, SPEC, MAX_PIXELS)
    except RequestError as error:
        check(error)
    else:
        assert picture.tensor.shape == (3, 16, 16)
        assert bool(torch.isfinite(picture.tensor).all())


def request(classifier: Classifier) -> Callable[[bytes], None]:
    """Return the target that reads a request; anything but queries or refusals of the contract is a finding."""

    def target(data: bytes) -> None:
        for each in read_call(message(data), classifier).messages:
            try:
                if isinstance(each, RequestError):
                    raise each
                read_query(each, classifier)
            except RequestError as error:
                check(error)

    return target


def message(data: bytes) -> Message:
    """Return the message that fuzzed bytes stand for: a byte of choices, then lines of the route, then fields."""
    choice, rest = data[0] if data else 0, data[1:]
    path, accept, body = (*rest.split(b"\n", 2), b"", b"", b"")[:3]
    path_options, accepted = path.decode("utf-8", "surrogateescape"), accept.decode("latin-1")
    if choice & 8:
        return Message({"body": bytearray(body)}, explain=bool(choice & 4), json_length=accepted)
    return Message(fields(choice >> 4, body), CONTENT_TYPES[choice & 3], accepted, path_options, bool(choice & 4))


def fields(kind: int, body: bytes) -> Mapping[str, object]:
    """Return a row's fields: a parsed JSON body, a raw one, or the parts of a form, with a picture or without."""
    if kind & 1:
        parts = (part.partition(b"=") for part in body.split(b"\0") if part)
        form: dict[str, object] = {name.decode("utf-8", "surrogateescape"): value for name, _, value in parts}
        return form if kind & 2 else {"data": PICTURE, **form}
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {"body": bytearray(body)}
    return {"body": {"data": {"b64": ""}, **parsed} if kind & 2 and isinstance(parsed, dict) else parsed}


def check(error: RequestError) -> None:
    """Raise AssertionError where a refusal breaks the contract."""
    assert error.status in REFUSALS, f"status {error.status}: {error.message}"
    wrong = list(error_faults(error.status, error_response(error).body))
    assert not wrong, wrong


def main() -> None:
    """Fuzz the target that the command line names; it does not return."""
    warnings.simplefilter("ignore")
    name = sys.argv.pop(1)
    target = image if name == "image" else request(small_classifier())
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Run one fuzz target with atheris: `python -m tools.fuzz.harness image|request [libFuzzer arguments]`.

The Python code of the engine and of Pillow is instrumented. The native decoders (libjpeg, libwebp, …) are not, so
coverage does not guide the fuzzer inside them.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # must be set before torch is imported

import atheris
import torch

with atheris.instrument_imports(include=["torchserve_saliency", "PIL"], enable_loader_override=False):
    from PIL import Image

    Image.init()  # imports the decoders of every format
    from tools.fuzz.inputs import message
    from torchserve_saliency.images.preprocessing import InputSpec, decode
    from torchserve_saliency.protocols.dispatch import read_call
    from torchserve_saliency.requests.query import read_query
    from torchserve_saliency.responses.encoding import error_response

from tools.corpus.contract import error_faults
from tools.corpus.entry import REFUSALS
from tools.corpus.tiny_network import small_classifier
from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.classifier import Classifier

SPEC = InputSpec((16, 16), (20,))
MAX_PIXELS = 250_000


def image(data: bytes) -> None:
    """Decode a picture. Any result other than a finite tensor or an error of the contract is a finding."""
    try:
        picture = decode(data, SPEC, MAX_PIXELS)
    except RequestError as error:
        check(error)
    else:
        assert picture.tensor.shape == (3, 16, 16)
        assert bool(torch.isfinite(picture.tensor).all())


def request(classifier: Classifier) -> Callable[[bytes], None]:
    """Return the target that reads a request. Any exception other than an error of the contract is a finding."""

    def target(data: bytes) -> None:
        for each in read_call(message(data), classifier).messages:
            try:
                if isinstance(each, RequestError):
                    raise each
                read_query(each, classifier)
            except RequestError as error:
                check(error)

    return target


def check(error: RequestError) -> None:
    """Raise AssertionError if an error does not keep the contract."""
    assert error.status in REFUSALS, f"status {error.status}: {error.message}"
    found = list(error_faults(error.status, error_response(error).body))
    assert not found, found


def main() -> None:
    """Fuzz the target that the first argument names. This function does not return."""
    warnings.simplefilter("ignore")
    name = sys.argv.pop(1)
    target = image if name == "image" else request(small_classifier())
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

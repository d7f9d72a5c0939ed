"""The protocols that a request may be written in, told apart by what its JSON body holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from saliency.errors import refused
from saliency.message import Message
from saliency.model import Classifier
from saliency.protocols import kserve_v1, kserve_v2, plain
from saliency.protocols.base import Call, Found
from saliency.protocols.binary import unpacked
from saliency.response import Response, error_response

__all__ = ["Call", "answer", "read_call"]

# the field by which a body is known; KServe's routes say no more of themselves
PROTOCOLS: Mapping[str, Callable[[Mapping[str, object], Message, Classifier], Call]] = MappingProxyType(
    {kserve_v1.FIELD: kserve_v1.read, kserve_v2.FIELD: kserve_v2.read}
)


def read_call(message: Message, classifier: Classifier) -> Call:
    """Return what a request is made of; what is wrong with the whole of it is its only message."""
    body = message.fields.get("body")
    try:
        if message.json_length and isinstance(body, bytes | bytearray):
            return kserve_v2.read(unpacked(bytes(body), message.json_length), message, classifier)
        if len(message.fields) == 1 and isinstance(body, dict):
            for field, read in PROTOCOLS.items():
                if field in body:
                    return read(body, message, classifier)
        return plain.read(message, classifier)
    except Exception as error:
        return Call((refused(error, "the reading"),), plain.answer)


def answer(call: Call, found: Sequence[Found], classifier: Classifier) -> Response:
    """Return a call's outcomes, one a message, as the one answer that it gets."""
    try:
        return call.answer(found, classifier)
    except Exception as error:
        return error_response(refused(error, "the encoding"))

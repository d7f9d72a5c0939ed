"""The protocols that a request may be written in, told apart by what its JSON body holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from saliency.deadline import NEVER, Deadline, too_late
from saliency.errors import RequestError, refused
from saliency.message import Message, parsed
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
    body = message.fields.get("body") if len(message.fields) == 1 else None
    try:
        if isinstance(body, bytes | bytearray):
            if message.json_length:
                return kserve_v2.read(unpacked(bytes(body), message.json_length), message, classifier)
            if "json" in message.content_type.lower():  # TorchServe parses what is called application/json, no other
                body = parsed(body)
                message = replace(message, fields={"body": body}) if isinstance(body, dict) else message
        if isinstance(body, dict):
            for field, read in PROTOCOLS.items():
                if field in body:
                    return read(body, message, classifier)
        return plain.read(message, classifier)
    except Exception as error:
        return Call((refused(error, "the reading"),), plain.answer)


def answer(call: Call, found: Sequence[Found], classifier: Classifier, deadline: Deadline = NEVER) -> Response:
    """Return a call's outcomes, one a message, as the one answer that it gets; past the deadline no map is encoded."""
    try:
        if deadline.passed and not all(isinstance(outcome, RequestError) for outcome in found):
            raise too_late()
        return call.answer(found, classifier)
    except Exception as error:
        response = error_response(refused(error, "the encoding"))
        told = any(isinstance(outcome, RequestError) for outcome in found)
        return response if told else replace(response, unwritten=((response.status, response.kind),))

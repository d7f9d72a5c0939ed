"""The protocol of a request: found from its body, and used to read the request and to write its answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from torchserve_saliency.errors import RequestError, to_request_error, too_late
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols import kserve_v1, kserve_v2
from torchserve_saliency.protocols.call import Call, Result, malformed, parse_json
from torchserve_saliency.protocols.kserve_v2_binary import unpack
from torchserve_saliency.requests.message import Message
from torchserve_saliency.responses.encoding import Response, encode_outcome, error_response

# KServe's protocols by a field of their JSON body, as TorchServe does not tell the handler the route of a request.
PROTOCOLS: Mapping[str, Callable[[Mapping[str, object], Message, Classifier], Call]] = MappingProxyType(
    {kserve_v1.FIELD: kserve_v1.read, kserve_v2.FIELD: kserve_v2.read}
)


def read_call(message: Message, classifier: Classifier) -> Call:
    """Return the call of a request; if the request as a whole is invalid, its only message is the error."""
    try:
        return _read(message, classifier)
    except Exception as error:
        return Call((to_request_error(error, "the reading"),), _answer_one)


def _read(message: Message, classifier: Classifier) -> Call:
    body = message.fields["body"] if set(message.fields) == {"body"} else None
    if message.json_length and isinstance(body, bytes | bytearray):
        return kserve_v2.read(unpack(bytes(body), message.json_length), message, classifier)
    fields = _json_fields(message)
    if fields is None:
        return Call((message,), _answer_one)
    for field, read in PROTOCOLS.items():
        if field in fields:
            return read(fields, message, classifier)
    return Call((replace(message, fields=fields),), _answer_one)


def _json_fields(message: Message) -> dict[str, object] | None:
    """Return the fields of a JSON body, or None if the body is not JSON; raise RequestError 400 if it is malformed.

    TorchServe parses a body of type application/json itself, but not of other JSON types.
    """
    if set(message.fields) != {"body"}:
        return None
    value = message.fields["body"]
    if isinstance(value, bytes | bytearray | str):
        if "json" not in message.content_type.lower():
            return None
        value = parse_json(value)
    if not isinstance(value, dict):
        raise malformed("the JSON body must be an object with 'data'")
    return value


def _answer_one(results: Sequence[Result], classifier: Classifier) -> Response:
    """Return the answer of a request for one picture."""
    (result,) = results
    return encode_outcome(result, classifier.labels.display, classifier.limits.max_response_bytes)


def answer(call: Call, results: Sequence[Result], classifier: Classifier, deadline: float = math.inf) -> Response:
    """Return the answer of a call from the results of its messages, which are not encoded after the deadline."""
    try:
        if time.monotonic() >= deadline and not all(isinstance(result, RequestError) for result in results):
            raise too_late()
        return call.answer(results, classifier)
    except Exception as error:
        response = error_response(to_request_error(error, "the encoding"))
        counted = any(isinstance(result, RequestError) for result in results)
        return response if counted else replace(response, encoding_errors=((response.status, response.kind),))

"""The protocol of a request: found from its body, and used to read the request and to write its answer."""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from torchserve_saliency.errors import RequestError, bad_option, to_request_error, too_late
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols import kserve_v1, kserve_v2
from torchserve_saliency.protocols.call import Call, Result, malformed, parse_json
from torchserve_saliency.protocols.kserve_v2_binary import unpack
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.picture_data import has_magic_number, is_picture
from torchserve_saliency.responses.encoding import Response, encode_outcome, error_response, json_response
from torchserve_saliency.schema import Boolean, read_one

DESCRIBE = "describe"  # the field that asks for the answer of the describe route
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
    if _asks_for_description(message.fields if fields is None else fields, message.path_options):
        return Call((), lambda results, classifier: json_response(describe(classifier)))
    if fields is None:
        return Call((message,), _answer_one)
    for field, read in PROTOCOLS.items():
        if field in fields:
            return read(fields, message, classifier)
    return Call((replace(message, fields=fields),), _answer_one)


def _asks_for_description(fields: Mapping[str, object], path_options: str) -> bool:
    """Tell if a request asks for the answer of the describe route, with the field `describe=true` and no other.

    Raise RequestError 400 if `describe` is not true, or is not alone.
    """
    in_path = path_options.strip("?/")
    if DESCRIBE not in fields and not in_path.startswith(f"{DESCRIBE}="):
        return False
    value = fields.get(DESCRIBE, in_path.partition("=")[2])
    text = value.decode("ascii", "replace") if isinstance(value, bytes | bytearray) else value
    if read_one(DESCRIBE, Boolean(), text) is not True:
        raise bad_option(DESCRIBE, f"'{DESCRIBE}' must be true, or left out")
    others = [name for name, other in fields.items() if name != DESCRIBE and other]
    if others or (DESCRIBE in fields and in_path):
        raise bad_option(DESCRIBE, f"'{DESCRIBE}' takes neither a picture nor another option")
    return True


def _json_fields(message: Message) -> dict[str, object] | None:
    """Return the fields of a JSON body, or None if the body is not JSON; raise RequestError 400 if it is malformed.

    TorchServe parses a body of type application/json itself, but not of other JSON types.
    """
    if set(message.fields) != {"body"}:
        return None
    value = message.fields["body"]
    if isinstance(value, bytes | bytearray | str):
        if not _is_json_body(value, message.content_type):
            return None
        value = parse_json(value)
    if isinstance(value, list) and value and all(isinstance(each, dict) or _is_encoded(each) for each in value):
        return {kserve_v1.FIELD: value}  # a list of requests, as KServe v1 without its envelope
    if _is_encoded(value):
        return {"data": value}
    if not isinstance(value, dict):
        raise malformed("the JSON body must be an object with 'data'")
    return value


def _is_encoded(value: object) -> bool:
    """Tell if a JSON value is the base64 text of a picture."""
    return isinstance(value, str) and is_picture("", value)


def _is_json_body(body: bytes | bytearray | str, content_type: str) -> bool:
    """Tell if a body is JSON: by its content type, unless it is a picture or base64 text of one, or by its first bytes.

    Without a content type of JSON, it must be an object or a list of objects, which no picture begins like.
    """
    if "json" in content_type.lower():
        return not (is_picture("", body) if isinstance(body, str) else has_magic_number(bytes(body[:64])))
    start = body[:64] if isinstance(body, str) else bytes(body[:64]).removeprefix(codecs.BOM_UTF8).decode("latin-1")
    return "".join(start.split()).startswith(('{"', '[{"'))


def _answer_one(results: Sequence[Result], classifier: Classifier) -> Response:
    """Return the answer of a request for one picture."""
    (result,) = results
    return encode_outcome(result, classifier.limits.max_response_bytes)


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

"""KServe's first protocol: `{"instances": [{"data": …, options…}, …]}`, answered with one entry per instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from torchserve_saliency.errors import RequestError, bad_option, to_request_error
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols.call import Call, Result, check_count, check_names, is_json, malformed, share_limits
from torchserve_saliency.requests.message import Message
from torchserve_saliency.responses.encoding import Response, encode_outcome, error_response
from torchserve_saliency.responses.explanation import Explanation, Outcome
from torchserve_saliency.responses.json_body import TOO_LARGE, smaller_answers, too_large
from torchserve_saliency.responses.negotiation import negotiate

FIELD = "instances"
ERROR_BYTES = 1_024  # reserved for the error object of each entry, which is shortened to this length


def read(body: Mapping[str, object], message: Message, classifier: Classifier) -> Call:
    """Return the call of a body; raise RequestError 400 if it has no instances, 406 if the client takes no JSON."""
    negotiate(message.accept, ("json",))
    check_names(body, (FIELD,), "the body")
    instances = body[FIELD]
    if not isinstance(instances, list):
        raise malformed(f"'{FIELD}' must be a list of objects with 'data'", FIELD)
    check_count(len(instances), classifier, FIELD)
    messages = share_limits([_instance(instance, message.explain) for instance in instances])
    return Call(messages, partial(_answer, name="explanations" if message.explain else "predictions"))


def _instance(instance: object, explain: bool) -> Message | RequestError:
    """Return the message of an instance, or its error; its entry in the answer is always JSON.

    An instance that is a text is the picture itself, in base64.
    """
    if isinstance(instance, str):
        instance = {"data": instance}
    if not isinstance(instance, dict):
        return malformed("an instance must be an object with 'data'", FIELD)
    if not is_json(instance.get("format", "json")):
        return bad_option("format", "an entry of the answer is JSON: 'format' must be json")
    return Message(instance, accept="application/json", explain=explain)


def _answer(results: Sequence[Result], classifier: Classifier, name: str) -> Response:
    """Return the entries in the order of the instances; if all are errors, with the status of the first."""
    limit = classifier.limits.max_response_bytes
    left = limit - ERROR_BYTES * len(results)
    entries: list[Response] = []
    for result in results:
        entries.append(_entry(result, classifier, left))
        left -= max(len(entries[-1].body) - ERROR_BYTES, 0)
    body = b'{"%b":[%b]}' % (name.encode(), b",".join(entry.body for entry in entries))
    if len(body) > limit:
        raise too_large(len(body), limit, f"fewer {FIELD}")
    failed = all(entry.status != 200 for entry in entries)
    status, kind = (entries[0].status, entries[0].kind) if failed else (200, "")
    errors = sum((entry.encoding_errors for entry in entries), ())
    return Response(body, "application/json", status, kind=kind, encoding_errors=errors)


def _entry(result: Result, classifier: Classifier, max_bytes: int) -> Response:
    """Return the answer for one instance, or its error object, shortened to ERROR_BYTES."""
    if isinstance(result, RequestError):
        return _short_error(result)
    try:
        return encode_outcome(result, max_bytes)
    except Exception as error:
        response = _short_error(_entry_error(error, result, max_bytes))
        return replace(response, encoding_errors=((response.status, response.kind),))


def _entry_error(error: Exception, result: Outcome, room: int) -> RequestError:
    """Return the error of an entry that could not be encoded; an entry that is too large can only be other JSON."""
    if isinstance(error, RequestError) and error.kind == TOO_LARGE and isinstance(result, Explanation):
        advice = f"{smaller_answers(result, only_json=True)} or fewer {FIELD}"
        message = f"the entry is larger than the {max(room, 0):,} bytes that are left of the answer; ask for {advice}"
        return RequestError(413, TOO_LARGE, message)
    return to_request_error(error, "the encoding")


def _short_error(error: RequestError) -> Response:
    """Return an error object of at most ERROR_BYTES, with its message cut as far as necessary."""
    response, text = error_response(error), error.message
    while len(response.body) > ERROR_BYTES and text:
        text = text[: len(text) * 3 // 4]
        response = error_response(RequestError(error.status, error.kind, f"{text}…", error.option))
    return response

"""KServe's first protocol: `{"instances": [{"data": …, options…}, …]}`, an entry of the answer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from saliency.body import too_large
from saliency.errors import RequestError, bad_option, refused
from saliency.message import Message
from saliency.model import Classifier
from saliency.negotiation import accepted
from saliency.protocols.base import Call, Found, check_count, check_names, is_json, malformed, sharing
from saliency.protocols.plain import answered
from saliency.response import Response, error_response

FIELD = "instances"
ERROR_BYTES = 1_024  # kept for the error object of each entry that may not fit any more, and the most that one has


def read(body: Mapping[str, object], message: Message, classifier: Classifier) -> Call:
    """Return the call of a body; RequestError where it holds no instances, or the client takes no JSON."""
    accepted(message.accept, ("json",))
    check_names(body, (FIELD,), "the body")
    instances = body[FIELD]
    if not isinstance(instances, list):
        raise malformed(f"'{FIELD}' must be a list of objects with 'data'", FIELD)
    check_count(len(instances), classifier, FIELD)
    messages = sharing([_instance(instance, message.explain) for instance in instances])
    return Call(messages, partial(_answer, name="explanations" if message.explain else "predictions"))


def _instance(instance: object, explain: bool) -> Message | RequestError:
    """Return an instance's message, or what is wrong with it: its entry must be JSON."""
    if not isinstance(instance, dict):
        return malformed("an instance must be an object with 'data'", FIELD)
    if not is_json(instance.get("format", "json")):
        return bad_option("format", "an entry of the answer is JSON: 'format' must be json")
    if "body" in instance and "data" not in instance:  # another name for it, and no body of a request within
        instance = {("data" if name == "body" else name): value for name, value in instance.items()}
    return Message(instance, accept="application/json", explain=explain)


def _answer(found: Sequence[Found], classifier: Classifier, name: str) -> Response:
    """Return the entries in the instances' order; the status is an error's, the first one's, where all are errors."""
    limit = classifier.limits.max_response_bytes
    left = limit - ERROR_BYTES * len(found)
    entries: list[Response] = []
    for outcome in found:
        entries.append(_entry(outcome, classifier, left))
        left -= max(len(entries[-1].body) - ERROR_BYTES, 0)
    body = b'{"%b":[%b]}' % (name.encode(), b",".join(entry.body for entry in entries))
    if len(body) > limit:
        raise too_large(len(body), limit, f"fewer {FIELD}")
    failed = all(entry.status != 200 for entry in entries)
    status, kind = (entries[0].status, entries[0].kind) if failed else (200, "")
    return Response(body, "application/json", status, kind=kind, unwritten=sum((e.unwritten for e in entries), ()))


def _entry(outcome: Found, classifier: Classifier, left: int) -> Response:
    """Return an instance's answer, or its error object in ERROR_BYTES."""
    if isinstance(outcome, RequestError):
        return _short(outcome)
    try:
        return answered(outcome, classifier, left)
    except Exception as error:
        response = _short(refused(error, "the encoding"))
        return replace(response, unwritten=((response.status, response.kind),))


def _short(error: RequestError) -> Response:
    """Return an error object of ERROR_BYTES at most: its message is cut where it is longer."""
    response, text = error_response(error), error.message
    while len(response.body) > ERROR_BYTES and text:
        text = text[: len(text) * 3 // 4]
        response = error_response(RequestError(error.status, error.kind, f"{text}…", error.option))
    return response

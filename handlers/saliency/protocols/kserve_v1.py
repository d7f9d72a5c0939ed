"""KServe's first protocol: `{"instances": [{"data": …, options…}, …]}`, an entry of the answer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from saliency.errors import RequestError, bad_option, refused
from saliency.message import Message
from saliency.model import Classifier
from saliency.negotiation import accepted
from saliency.protocols.base import Call, Found, check_count, check_names, malformed
from saliency.protocols.plain import answered
from saliency.response import Response, error_response

FIELD = "instances"
ERROR_BYTES = 512  # kept for the error object of each entry that may not fit any more


def read(body: Mapping[str, object], message: Message, classifier: Classifier) -> Call:
    """Return the call of a body; RequestError where it holds no instances, or the client takes no JSON."""
    accepted(message.accept, ("json",))
    check_names(body, (FIELD,), "the body")
    instances = body[FIELD]
    if not isinstance(instances, list):
        raise malformed(f"'{FIELD}' must be a list of objects with 'data'", FIELD)
    check_count(len(instances), classifier, FIELD)
    messages = tuple(_instance(instance, message.explain) for instance in instances)
    return Call(messages, partial(_answer, name="explanations" if message.explain else "predictions"))


def _instance(instance: object, explain: bool) -> Message | RequestError:
    """Return an instance's message, or what is wrong with it: its entry must be JSON."""
    if not isinstance(instance, dict):
        return malformed("an instance must be an object with 'data'", FIELD)
    if instance.get("format", "json") != "json":
        return bad_option("format", "an entry of the answer is JSON: 'format' must be json")
    return Message(instance, accept="application/json", explain=explain)


def _answer(found: Sequence[Found], classifier: Classifier, name: str) -> Response:
    """Return the entries in the instances' order; the status is an error's, the first one's, where all are errors."""
    left = classifier.limits.max_response_bytes - ERROR_BYTES * len(found)
    entries: list[Response] = []
    for outcome in found:
        entries.append(_entry(outcome, classifier, left))
        left -= max(len(entries[-1].body) - ERROR_BYTES, 0)
    body = b'{"%b":[%b]}' % (name.encode(), b",".join(entry.body for entry in entries))
    failed = all(entry.status != 200 for entry in entries)
    status, kind = (entries[0].status, entries[0].kind) if failed else (200, "")
    return Response(body, "application/json", status, kind=kind)


def _entry(outcome: Found, classifier: Classifier, left: int) -> Response:
    try:
        return answered(outcome, classifier, left)
    except Exception as error:
        return error_response(refused(error, "the encoding"))

"""TorchServe's own routes: one picture a request."""

from __future__ import annotations

from collections.abc import Sequence

from saliency.body import too_large
from saliency.errors import RequestError
from saliency.explanation import Explanation
from saliency.message import Message
from saliency.model import Classifier
from saliency.protocols.base import Call, Found
from saliency.response import Response, classes_body, encode, error_response, json_response


def read(message: Message, classifier: Classifier) -> Call:
    """Return the call of one picture."""
    return Call((message,), answer)


def answer(found: Sequence[Found], classifier: Classifier) -> Response:
    """Return the only outcome as bytes."""
    (outcome,) = found
    return answered(outcome, classifier, classifier.limits.max_response_bytes)


def answered(outcome: Found, classifier: Classifier, max_bytes: int) -> Response:
    """Return one picture's outcome as bytes; RequestError as `encode` raises it, 413 above `max_bytes`."""
    if isinstance(outcome, RequestError):
        return error_response(outcome)
    if isinstance(outcome, Explanation):
        return encode(outcome, max_bytes)
    display = classifier.labels.display
    response = json_response(classes_body([(display(p.index), p.probability) for p in outcome]))
    if len(response.body) > max_bytes:
        raise too_large(len(response.body), max_bytes, "a smaller top_k")
    return response

"""A call: the messages of one request, and the function that combines their results into one answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.requests.message import Message
from torchserve_saliency.responses.encoding import Response
from torchserve_saliency.responses.explanation import Outcome
from torchserve_saliency.schema import shown
from torchserve_saliency.spelling import spelling_key

Result = Outcome | RequestError  # of one picture
AnswerFunction = Callable[[Sequence[Result], Classifier], Response]


@dataclass(frozen=True)
class Call:
    """A request: one message per picture, or its error, and the function that makes the answer of their results."""

    messages: tuple[Message | RequestError, ...]
    answer: AnswerFunction


def share_limits(messages: Sequence[Message | RequestError]) -> tuple[Message | RequestError, ...]:
    """Return the messages of one request, so that they share its limits."""
    count = len(messages)
    return tuple(replace(each, pictures=count) if isinstance(each, Message) else each for each in messages)


def parse_json(body: bytes | bytearray | str) -> object:
    """Return the value of a JSON body; raise RequestError 400, with the position of the error, if it is malformed."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        position = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise malformed(f"the body is not valid JSON{position}") from None


def is_json(value: object) -> bool:
    """Return whether a value of option `format` is JSON."""
    return isinstance(value, str) and spelling_key(value) in ("json", "applicationjson")


def malformed(message: str, option: str | None = None) -> RequestError:
    """Return the 400 for a body that violates its protocol."""
    return RequestError(400, "MalformedRequestException", message, option)


def check_count(count: int, classifier: Classifier, option: str) -> None:
    """Raise RequestError 400 for a request without pictures, or with more than the archive's limit."""
    limit = classifier.limits.max_instances
    if not 1 <= count <= limit:
        raise malformed(f"'{option}' must hold 1 to {limit} pictures (max_instances), and holds {count:,}", option)


def check_names(given: Collection[str], known: Sequence[str], where: str) -> None:
    """Raise RequestError 400 for a field that the protocol does not have."""
    if unknown := sorted(set(given) - set(known)):
        raise malformed(f"{where} has no field {shown(unknown[0])}; it takes {', '.join(known)}")

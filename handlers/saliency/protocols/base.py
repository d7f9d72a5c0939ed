"""What one request over the wire is made of: messages for the engine, and how their outcomes become one answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from saliency.errors import RequestError
from saliency.jobs import Outcome
from saliency.message import Message
from saliency.model import Classifier
from saliency.response import Response
from saliency.schema import shown

Found = Outcome | RequestError
Answering = Callable[[Sequence[Found], Classifier], Response]


@dataclass(frozen=True)
class Call:
    """A request: a message a picture, or what is wrong with it; `answer` puts their outcomes together."""

    messages: tuple[Message | RequestError, ...]
    answer: Answering


def sharing(messages: Sequence[Message | RequestError]) -> tuple[Message | RequestError, ...]:
    """Return the messages of one request, which share its limits."""
    count = len(messages)
    return tuple(replace(each, pictures=count) if isinstance(each, Message) else each for each in messages)


def is_json(value: object) -> bool:
    """Tell whether option `format` asks for JSON."""
    return isinstance(value, str) and value.strip().lower() == "json"


def malformed(message: str, option: str | None = None) -> RequestError:
    """Return the 400 for a body that is not what its protocol says."""
    return RequestError(400, "MalformedRequestException", message, option)


def check_count(count: int, classifier: Classifier, option: str) -> None:
    """Raise a 400 where a request holds no picture, or more than the archive's limit."""
    limit = classifier.limits.max_instances
    if not 1 <= count <= limit:
        raise malformed(f"'{option}' must hold 1 to {limit} pictures (max_instances), and holds {count:,}", option)


def check_names(given: Collection[str], known: Sequence[str], where: str) -> None:
    """Raise a 400 for a field that the protocol does not have."""
    if unknown := sorted(set(given) - set(known)):
        raise malformed(f"{where} has no field {shown(unknown[0])}; it takes {', '.join(known)}")

"""Errors that a request is answered with, and their conversion from other exceptions."""

from __future__ import annotations

import logging
from textwrap import shorten
from typing import TypeVar

logger = logging.getLogger(__name__)
E = TypeVar("E", bound=BaseException)


class RequestError(Exception):
    """The error that one request is answered with: HTTP status, TorchServe's error type, message and option.

    The client sees `message`, so it never contains a path or a stack trace.
    """

    def __init__(self, status: int, kind: str, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.option = option

    @property
    def type(self) -> str:
        """Return the error's type, as in the field `type` of the error object."""
        return self.kind

    def body(self) -> dict[str, int | str]:
        """Return the JSON object of the error: code, type, message, and the option if one caused it."""
        body: dict[str, int | str] = {"code": self.status, "type": self.kind, "message": self.message}
        return body if self.option is None else body | {"option": self.option}


class ModelError(Exception):
    """A model that cannot be loaded or explained; the message is for the person who archives it."""


def bad_option(option: str, message: str) -> RequestError:
    """Return the 400 for an option that is unknown, of the wrong type or out of range."""
    return RequestError(400, "BadOptionException", message, option)


def unreadable(error: OSError) -> RequestError:
    """Return the error for a picture whose file cannot be read."""
    return RequestError(400, "UnreadableFileException", f"the picture cannot be read: {error}", "data")


def too_late() -> RequestError:
    """Return the 503 for a request that was not finished before its batch's deadline: the server was too busy."""
    message = (
        "the server had no time left for this request: send it again, later or with fewer samples, steps or targets"
    )
    return RequestError(503, "DeadlineException", message)


def too_long(limit: float) -> RequestError:
    """Return the 504 for a request that has used all its seconds of processor time."""
    message = (
        f"the request was not finished within {limit:g} seconds of processor time (max_seconds); ask for fewer "
        "samples, steps, channels or targets, or for a method with fewer passes"
    )
    return RequestError(504, "DeadlineException", message)


def error_summary(error: BaseException) -> str:
    """Return an exception's type and the first paragraph of its message, on one line."""
    paragraph, _, _ = (str(error).strip() or "no message").partition("\n\n")
    return f"{type(error).__name__}: {shorten(paragraph, 400)}"


def out_of_memory(error: BaseException) -> bool:
    """Tell if an exception means that the CPU or a device ran out of memory."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)


def to_request_error(error: Exception, stage: str) -> RequestError:
    """Convert an exception to a RequestError: unchanged if it is one, 507 if out of memory, else a logged 500.

    `stage` is the part of the work that failed, for the message. The exception's frames are released.
    """
    if not isinstance(error, RequestError) and not out_of_memory(error):
        logger.error("%s failed", stage, exc_info=error)
    without_frames(error)
    if isinstance(error, RequestError):
        return error
    if out_of_memory(error):
        return RequestError(507, "OutOfMemoryException", "out of memory, even for this request alone")
    return RequestError(500, "InternalServerException", f"the server failed in {stage} of this request")


def without_frames(error: E) -> E:
    """Remove the stack frames from an exception and its causes, because they keep tensors and pictures alive."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error

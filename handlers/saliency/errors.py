"""What a request is told when it cannot be answered."""

from __future__ import annotations

import logging
from textwrap import shorten
from typing import TypeVar

logger = logging.getLogger(__name__)
E = TypeVar("E", bound=BaseException)


class RequestError(Exception):
    """One request's refusal: an HTTP status, TorchServe's type and message, and the option at fault.

    `message` is shown to the client as it is: it never holds a path or a stack trace.
    """

    def __init__(self, status: int, kind: str, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.option = option

    def body(self) -> dict[str, int | str]:
        """Return the error object of the contract: code, type, message, and option where one is at fault."""
        said: dict[str, int | str] = {"code": self.status, "type": self.kind, "message": self.message}
        return said if self.option is None else said | {"option": self.option}


def said(error: BaseException) -> str:
    """Return an exception's kind and the first paragraph of its message, on one line."""
    paragraph, _, _ = (str(error).strip() or "no message").partition("\n\n")
    return f"{type(error).__name__}: {shorten(paragraph, 400)}"


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that memory ran out, on the CPU or on a device."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)


def refused(error: Exception, doing: str) -> RequestError:
    """Return what a request is told of an exception: itself, 507 where memory ran out, else 500, which is logged."""
    if not isinstance(error, RequestError) and not out_of_memory(error):
        logger.error("%s failed", doing, exc_info=error)
    without_frames(error)
    if isinstance(error, RequestError):
        return error
    if out_of_memory(error):
        return RequestError(507, "OutOfMemoryException", "out of memory, even for this request alone")
    return RequestError(500, "InternalServerException", f"the server failed in {doing} of this request")


def without_frames(error: E) -> E:
    """Return an exception without the frames that it came through: they hold on to tensors and pictures."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def bad_option(option: str, message: str) -> RequestError:
    """Return the 400 for an option that is unknown, of the wrong type or out of range."""
    return RequestError(400, "BadOptionException", message, option)


class ModelError(Exception):
    """A network that cannot be loaded or explained, and why, in words for the person who archives it."""

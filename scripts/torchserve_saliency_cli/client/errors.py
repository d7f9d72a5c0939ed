"""The errors of the client: an error in the server's answer, or no answer. Both are RequestErrors."""

from __future__ import annotations

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.client.transport import Reply

INVALID_KEY = "InvalidKeyException"  # the type of TorchServe's error for a missing, a wrong or an expired token
LONGEST_TEXT = 500  # characters of an answer without an error object


class RefusedError(RequestError):
    """The server answered with an error: its `status`, `type`, `message`, and the `option` that caused it, or None."""

    def __str__(self) -> str:
        return f"{self.status} {self.type}: {self.message}"


class UnreachableError(RequestError, ConnectionError):
    """The server sent no answer: it does not listen at this address, the connection broke, or the time ran out.

    Its `status` is 0.
    """

    def __init__(self, message: str) -> None:
        super().__init__(0, "UnreachableException", message)

    def __str__(self) -> str:
        return self.message


def refusal(reply: Reply) -> RefusedError:
    """Return the error in a reply, which may come from TorchServe, from the model's handler, or from a proxy."""
    try:
        error = reply.json()
        if isinstance(error, dict):
            option = error.get("option")
            kind, message = str(error["type"]), str(error["message"])
            return RefusedError(reply.status, kind, message, None if option is None else str(option))
    except (ValueError, KeyError):
        pass
    text = reply.body[: 4 * LONGEST_TEXT].decode(errors="replace")[:LONGEST_TEXT]
    return RefusedError(reply.status, "Error", text or "an empty answer")

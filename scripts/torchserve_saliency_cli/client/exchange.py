"""One request and its answer, with retries, as a generator that the client and the asynchronous client both drive."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx

from torchserve_saliency_cli.client.errors import INVALID_KEY, UnreachableError, refusal
from torchserve_saliency_cli.client.requests import PictureRequest
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.properties import read_token

BUSY = 503
LONGEST_PAUSE = 30.0
Outcome = httpx.Response | httpx.TransportError | None
Exchange = Generator[httpx.Request | float, Outcome, Reply]
"""Yields a request to send, and is sent its response or error; or yields seconds to wait. Returns the reply."""


@dataclass(frozen=True)
class Connection:
    """The address of a server, with the token, or the key file that has it, and the limits of time and of retries."""

    url: str
    token: str | None = None
    key_file: Path | None = None
    timeout: float = 150
    retries: int = 3
    pause: float = 0.25

    def __post_init__(self) -> None:
        """Raise ValueError if a value is invalid."""
        if not self.url.lower().startswith(("http://", "https://")):
            raise ValueError(f"the address must begin with http:// or https://, not {self.url!r}")
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ValueError(f"the address {self.url!r} is invalid: {error}") from error
        if self.timeout <= 0 or self.retries < 0:
            raise ValueError("the timeout must be above 0, and the number of retries 0 or more")
        if self.key_file is not None and self.token is not None:
            raise ValueError("give a token or a key file, not both")

    def current_token(self) -> str | None:
        """Return the token, read from the key file if there is one: TorchServe writes a new one when it expires.

        Raise OSError or ValueError if the key file cannot be read.
        """
        if self.key_file is None:
            return self.token
        try:
            return read_token(self.key_file, "inference")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.key_file} is not a key file of TorchServe") from error

    def exchange(self, request: PictureRequest) -> Exchange:
        """Yield the requests and pauses that lead to the reply; raise RefusedError or UnreachableError without one.

        A status 503 and a broken connection are tried again, after pauses that double. An answer that takes too long is
        not: the server may still be at work on it.
        """
        token = self.current_token()
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            outcome = yield self._request(request, token)
            if isinstance(outcome, httpx.Response):
                reply = Reply(outcome.status_code, outcome.headers, outcome.content)
                renewed = self._renewed(reply, token)
                if reply.status == 200:
                    return reply
                if last or (reply.status != BUSY and renewed is None):
                    raise refusal(reply)
                token = renewed or token
                yield self._pause(attempt, outcome.headers.get("Retry-After"))
            elif last or isinstance(outcome, httpx.ReadTimeout | httpx.WriteTimeout | httpx.UnsupportedProtocol):
                raise self._unreachable(outcome)
            else:
                yield self._pause(attempt, None)
        raise AssertionError  # the last attempt returns or raises

    def _request(self, request: PictureRequest, token: str | None) -> httpx.Request:
        """Return the request with its headers."""
        headers = {"Content-Type": request.content_type} | ({"Authorization": f"Bearer {token}"} if token else {})
        url = f"{self.url.rstrip('/')}/{request.path}"
        return httpx.Request("POST", url, content=request.body, headers=headers)

    def _renewed(self, reply: Reply, token: str | None) -> str | None:
        """Return the new token of the key file if the server has refused the old one."""
        if self.key_file is None or not 400 <= reply.status < 404 or refusal(reply).type != INVALID_KEY:
            return None
        current = self.current_token()
        return current if current != token else None

    def _pause(self, attempt: int, retry_after: str | None) -> float:
        """Return the seconds before the next attempt: those that the server asks for, or a random number."""
        if retry_after and retry_after.isdecimal():
            return min(float(retry_after), LONGEST_PAUSE)
        factor: float = 2**attempt * random.uniform(0.8, 1.2)  # nosec B311
        return min(self.pause * factor, LONGEST_PAUSE)

    def _unreachable(self, error: httpx.TransportError | None) -> UnreachableError:
        """Return the error for a server that sent no answer."""
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return UnreachableError(f"no answer from {self.url} within {self.timeout:g} seconds (timeout)")
        reason = str(error) or type(error).__name__
        return UnreachableError(f"no TorchServe answers at {self.url} ({reason})")

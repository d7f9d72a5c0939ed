"""Clients that send requests without a pause, and the results of their requests."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.soak.comparison import faults, unreadable
from tools.soak.request_mix import Request
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe

HOSTILE_SHARE = 0.2  # of the requests
TIMEOUT = 30.0  # seconds that a client waits for an answer
PAUSE = 0.05  # seconds that a client waits after a lost request
# The errors that TorchServe's frontend returns if there is no worker. An error inside a worker has the type of
# WORKER_ERROR too, but a different message.
FRONTEND_TYPES = frozenset({"ServiceUnavailableException", "ModelNotFoundException", "ModelVersionNotFoundException"})
WORKER_ERROR = "InternalServerException", "Worker "  # the worker "died." or was "scaled down."


class UnfitError(Exception):
    """The server gives wrong answers even without load, so there are no reference answers to compare with."""


@dataclass(frozen=True)
class Result:
    """The result of a request: its start, its duration, its status (None without a reply) and its faults."""

    kind: str
    begun: float
    seconds: float
    status: int | None
    wrong: str = ""
    lost: bool = False

    @property
    def end(self) -> float:
        """Return the time at which it was answered or given up."""
        return self.begun + self.seconds

    @property
    def right(self) -> bool:
        """Return whether the answer is equal to the reference answer."""
        return not self.wrong and not self.lost


class Load:
    """A context manager that runs clients in threads. A request is valid or hostile by chance (HOSTILE_SHARE)."""

    def __init__(
        self,
        server: TorchServe,
        valid: Sequence[Request],
        hostile: Sequence[Request],
        references: Mapping[Request, Reply],
        clients: int,
    ) -> None:
        self._server = server
        self._requests = valid, hostile
        self._references = references
        self._ended = threading.Event()
        self._last_result = [0.0] * clients  # the time of each client's last result
        self._threads = [threading.Thread(target=self._client, args=(seed,), daemon=True) for seed in range(clients)]
        self.results: list[Result] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for_recovery(self, within: float) -> None:
        """Send a valid request until it is answered correctly and every client has a new result.

        The request is sent by this thread, because clients may wait up to `TIMEOUT` for a reply that never comes.
        Return after `within` seconds even if the server has not recovered.
        """
        since = time.monotonic()
        while time.monotonic() < since + within:
            self.results.append(result := self._send(self._requests[0][0]))
            if result.right and min(self._last_result) > since:
                return
            time.sleep(PAUSE)

    def _client(self, number: int) -> None:
        # a seed makes every soak send the same requests
        rng = random.Random(number)  # nosec B311
        while not self._ended.is_set():
            result = self._send(rng.choice(self._requests[rng.random() < HOSTILE_SHARE]))
            self.results.append(result)
            self._last_result[number] = time.monotonic()
            if result.lost:
                time.sleep(PAUSE)

    def _send(self, request: Request) -> Result:
        begun = time.monotonic()
        try:
            reply = self._server.request("POST", request.path, request.body, request.headers, timeout=TIMEOUT)
        except OSError as error:  # NoReplyError is one; its cause is more specific
            reason = type(error.__cause__ or error).__name__
            return Result(request.kind, begun, time.monotonic() - begun, None, reason, lost=True)
        except Exception as error:
            return Result(request.kind, begun, time.monotonic() - begun, None, f"cannot be read: {error!r}")
        seconds = time.monotonic() - begun
        wrong = "; ".join(faults(self._references[request], reply))[:400]
        return Result(request.kind, begun, seconds, reply.status, wrong, bool(wrong) and is_frontend_error(reply))


def is_frontend_error(reply: Reply) -> bool:
    """Return whether TorchServe itself reports that it has no worker; errors of the handler do not count."""
    try:
        body = reply.json()
    except (ValueError, RecursionError):
        return False
    if reply.status < 400 or not isinstance(body, dict):
        return False
    kind, message = str(body.get("type")), str(body.get("message"))
    return kind in FRONTEND_TYPES or (kind == WORKER_ERROR[0] and message.startswith(WORKER_ERROR[1]))


def reference_replies(server: TorchServe, requests: Sequence[Request]) -> dict[Request, Reply]:
    """Return the reply to each request, sent one at a time. Raise UnfitError if the replies are not usable.

    Each status must be an allowed one of its request, and more than half of the valid requests must get 200.
    """
    replies = {}
    for request in requests:
        try:
            replies[request] = server.request("POST", request.path, request.body, request.headers)
        except OSError as error:
            raise UnfitError(f"without load, {request.kind} at {request.path} got no answer: {error!r}") from error
    if unusable := list(_unusable(replies)):
        raise UnfitError(f"without load, {len(unusable)} of {len(replies)} answers were wrong: {unusable[0]}")
    valid = [reply.status == 200 for request, reply in replies.items() if request.kind != "hostile"]
    if valid and sum(valid) * 2 <= len(valid):
        raise UnfitError(f"without load, only {sum(valid)} of {len(valid)} valid requests were answered with 200")
    return replies


def _unusable(replies: Mapping[Request, Reply]) -> Iterator[str]:
    """Yield the replies with a status that is not allowed, and those with status 200 that cannot be read."""
    for request, reply in replies.items():
        if reply.status not in request.statuses:
            allowed = ", ".join(map(str, sorted(request.statuses)))
            yield f"{request.kind} at {request.path} with {reply.status}, expected {allowed}: {reply.body[:200]!r}"
        elif reply.status == 200 and (reasons := unreadable(reply)):
            yield f"{request.kind} at {request.path} with 200 and a body that is invalid: {'; '.join(reasons)}"

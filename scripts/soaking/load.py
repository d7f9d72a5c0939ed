"""Clients that ask without a pause, and what each of their requests came to."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException

from scripts.server import TorchServe
from scripts.soaking.asks import Ask
from scripts.soaking.comparing import faults, unreadable
from scripts.wire import Reply

SHARE = 0.2  # of hostile requests
TIMEOUT = 30.0  # seconds that a client waits for an answer
PAUSE = 0.05  # seconds before a client asks again that nobody answered
# what TorchServe itself says while there is no worker; what dies inside a worker has the same type and no such message
FRONTEND = frozenset({"ServiceUnavailableException", "ModelNotFoundException", "ModelVersionNotFoundException"})
WORKER = "InternalServerException", "Worker "  # died, or scaled down


class UnfitError(Exception):
    """A server that answers wrong even what is asked alone, so that nothing can be compared with it."""


@dataclass(frozen=True)
class Result:
    """One request: when it began and how long it took, its status (none without a reply), and what was wrong."""

    kind: str
    begun: float
    seconds: float
    status: int | None
    wrong: str = ""
    lost: bool = False

    @property
    def end(self) -> float:
        """Return when it was answered, or given up."""
        return self.begun + self.seconds

    @property
    def right(self) -> bool:
        """Tell whether it was answered as it is alone."""
        return not self.wrong and not self.lost


class Load:
    """Clients at work, from `with` to its end."""

    def __init__(
        self, server: TorchServe, good: Sequence[Ask], hostile: Sequence[Ask], alone: Mapping[Ask, Reply], clients: int
    ) -> None:
        self._server = server
        self._asks = good, hostile
        self._alone = alone
        self._ended = threading.Event()
        self._heard = [0.0] * clients  # when each client last had an answer, or none for good
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

    def recovery(self, within: float) -> None:
        """Ask a good request of its own until it is answered right, and wait for every client to have asked anew.

        A client may wait as long as `TIMEOUT` for an answer that never comes; another asks meanwhile what still can
        be answered. Ends without a word after `within` seconds.
        """
        since = time.monotonic()
        while time.monotonic() < since + within:
            self.results.append(result := self._asked(self._asks[0][0]))
            if result.right and min(self._heard) > since:
                return
            time.sleep(PAUSE)

    def _client(self, number: int) -> None:
        choice = random.Random(number)  # nosec B311: a soak is to be the same at every run
        while not self._ended.is_set():
            result = self._asked(choice.choice(self._asks[choice.random() < SHARE]))
            self.results.append(result)
            self._heard[number] = time.monotonic()
            if result.lost:
                time.sleep(PAUSE)

    def _asked(self, ask: Ask) -> Result:
        begun = time.monotonic()
        try:
            reply = self._server.request("POST", ask.path, ask.body, ask.headers, timeout=TIMEOUT)
        except (OSError, HTTPException) as error:
            return Result(ask.kind, begun, time.monotonic() - begun, None, type(error).__name__, lost=True)
        except Exception as error:
            return Result(ask.kind, begun, time.monotonic() - begun, None, f"cannot be read: {error!r}")
        seconds = time.monotonic() - begun
        wrong = "; ".join(faults(self._alone[ask], reply))[:400]
        return Result(ask.kind, begun, seconds, reply.status, wrong, bool(wrong) and of_frontend(reply))


def of_frontend(reply: Reply) -> bool:
    """Tell whether TorchServe itself says that it has no worker for a request; what the handler says is not that."""
    try:
        said = reply.json()
    except (ValueError, RecursionError):
        return False
    if reply.status < 400 or not isinstance(said, dict):
        return False
    kind, message = str(said.get("type")), str(said.get("message"))
    return kind in FRONTEND or (kind == WORKER[0] and message.startswith(WORKER[1]))


def alone(server: TorchServe, asks: Sequence[Ask]) -> dict[Ask, Reply]:
    """Return what each request is answered while nothing else is asked; UnfitError where that is not as it should be.

    Every status is to be one of the request's own, and more than half of the well-formed requests are to get 200.
    """
    found = {}
    for ask in asks:
        try:
            found[ask] = server.request("POST", ask.path, ask.body, ask.headers)
        except (OSError, HTTPException) as error:
            raise UnfitError(f"asked alone, {ask.kind} at {ask.path} got no answer: {error!r}") from error
    if faulty := list(_unfit(found)):
        raise UnfitError(f"of {len(found)} requests asked alone, {len(faulty)} were answered wrong: {faulty[0]}")
    good = [reply.status == 200 for ask, reply in found.items() if ask.kind != "hostile"]
    if good and sum(good) * 2 <= len(good):
        raise UnfitError(f"of {len(good)} well-formed requests asked alone, only {sum(good)} were answered with 200")
    return found


def _unfit(found: Mapping[Ask, Reply]) -> Iterator[str]:
    """Yield what was answered with a status that its request may not have, or with 200 and what cannot be read."""
    for ask, reply in found.items():
        if reply.status not in ask.statuses:
            admitted = ", ".join(map(str, sorted(ask.statuses)))
            yield f"{ask.kind} at {ask.path} with {reply.status} for {admitted}: {reply.body[:200]!r}"
        elif reply.status == 200 and (why := unreadable(reply)):
            yield f"{ask.kind} at {ask.path} with 200 and a body that is none: {'; '.join(why)}"

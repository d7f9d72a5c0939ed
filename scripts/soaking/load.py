"""Clients that ask without a pause, and what each of their requests came to."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException

from scripts.server import TorchServe
from scripts.soaking.asks import Ask
from scripts.soaking.comparing import faults
from scripts.wire import Reply

SHARE = 0.2  # of hostile requests
TIMEOUT = 30.0  # seconds that a client waits for an answer
PAUSE = 0.05  # seconds before a client asks again that nobody answered
FRONTEND = frozenset({404, 500, 503, 507})  # what TorchServe itself says while there is no worker


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
        seconds = time.monotonic() - begun
        expected = self._alone[ask]
        lost = reply.status in FRONTEND and reply.status != expected.status
        return Result(ask.kind, begun, seconds, reply.status, "; ".join(faults(expected, reply))[:400], lost)


def alone(server: TorchServe, asks: Sequence[Ask]) -> dict[Ask, Reply]:
    """Return what each request is answered while nothing else is asked."""
    return {ask: server.request("POST", ask.path, ask.body, ask.headers) for ask in asks}

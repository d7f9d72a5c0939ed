"""HTTP over connections that stay open: one for single requests, many for a server that never waits for one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

from scripts.bench.timing import Run

SECONDS = 600.0


class ReplyError(RuntimeError):
    """A request that must succeed did not; the message holds what came back."""


class Connection:
    """One connection to a server, open until `close`."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._connection = HTTPConnection(where.hostname or "", where.port, timeout=SECONDS)

    def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer; ReplyError where its status is not 200."""
        self._connection.request("POST", path, body)
        reply = self._connection.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise ReplyError(f"{path} was answered with {reply.status}: {said[:300].decode(errors='replace')}")
        return said

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def connections(url: str, count: int) -> Iterator[list[Connection]]:
    """Give so many connections to a server, closed in the end."""
    opened = [Connection(url) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def saturating(clients: list[Connection], path: str, body: bytes, count: int) -> Run:
    """Return a run in which every client always has a request under way; it returns the seconds of `count` answers.

    The clock starts when as many answers have come as there are clients, and the load stays on until it stops, so
    that neither the first, small batches nor the last are counted.
    """

    def run() -> float:
        answered: list[float] = []
        last = len(clients) + count

        def ask(client: Connection) -> None:
            while len(answered) < last:
                client.post(path, body)
                answered.append(time.perf_counter())

        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(ask, clients))
        answered.sort()
        return answered[last - 1] - answered[len(clients) - 1]

    return run

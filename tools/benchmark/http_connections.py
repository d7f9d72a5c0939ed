"""HTTP requests over persistent connections: one request at a time, or enough of them to saturate a server.

Requests are sent with `http.client`, because latency is measured: over loopback, with a body of 60 kB and an answer of
43 kB, a request takes 0.35 ms with `http.client` and 0.95 ms with `httpx.Client`. 0.5 ms of the difference is processor
time, which the server on the same machine would lack.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tools.benchmark.timing import Run

TIMEOUT = 600.0  # seconds


class ReplyError(RuntimeError):
    """A request that must succeed failed, or its answer is wrong."""


class Connection:
    """A persistent connection to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)

    def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer. Raise ReplyError if the status is not 200."""
        self._connection.request("POST", path, body)
        reply = self._connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            text = content[:300].decode(errors="replace")
            raise ReplyError(f"{path} was answered with status {reply.status}: {text}")
        return content

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()


@contextmanager
def connections(url: str, count: int) -> Iterator[list[Connection]]:
    """Yield `count` connections to a server and close them at the end."""
    opened = [Connection(url) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


def saturation_run(clients: list[Connection], path: str, body: bytes, count: int) -> Run:
    """Return a run that sends requests over all connections at once and returns the seconds of `count` answers.

    The clock starts after as many answers as there are clients and stops before the clients do. So the small batches
    at the start and at the end are not counted.
    """

    def run() -> float:
        answered: list[float] = []
        last = len(clients) + count

        def send_requests(client: Connection) -> None:
            while len(answered) < last:
                client.post(path, body)
                answered.append(time.perf_counter())

        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(send_requests, clients))
        answered.sort()
        return answered[last - 1] - answered[len(clients) - 1]

    return run

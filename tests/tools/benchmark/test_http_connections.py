"""Persistent connections, and saturation of a server."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.benchmark.http_connections import Connection, ReplyError, connections, saturation_run

PAUSE = 0.02


class Echo(BaseHTTPRequestHandler):
    """Returns the request's body after a pause, with status 503 on /broken. Counts the requests of each connection."""

    protocol_version = "HTTP/1.1"
    counts: Counter[object]

    def do_POST(self) -> None:
        self.counts[self.client_address] += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(PAUSE)
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def echo_server() -> Iterator[tuple[str, Counter[object]]]:
    counts: Counter[object] = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Echo,), {"counts": counts}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_requests_share_a_connection() -> None:
    with echo_server() as (url, counts), connections(url, 1) as (one,):
        assert [one.post("/x", b"owl"), one.post("/x", b"zebra")] == [b"owl", b"zebra"]
        assert list(counts.values()) == [2]


def test_a_status_other_than_200_is_an_error() -> None:
    message = "/broken was answered with status 503: owl"
    with echo_server() as (url, _), connections(url, 1) as (one,), pytest.raises(ReplyError, match=message):
        one.post("/broken", b"owl")


def test_saturation_times_the_answers_under_full_load() -> None:
    with echo_server() as (url, counts), connections(url, 4) as clients:
        seconds = saturation_run(clients, "/x", b"owl", 12)()
    assert seconds is not None
    assert 0.5 * 3 * PAUSE < seconds < 60 * PAUSE  # 12 requests of 4 clients take 3 pauses
    assert len(counts) == 4
    assert 16 <= sum(counts.values()) <= 16 + 3  # 4 before the clock starts, up to 3 when it stops


def test_a_failed_request_under_load_is_an_error() -> None:
    with echo_server() as (url, _), connections(url, 2) as clients, pytest.raises(ReplyError):
        saturation_run(clients, "/broken", b"owl", 2)()


def test_connections_are_closed_at_the_end() -> None:
    with echo_server() as (url, counts):
        with connections(url, 1) as (one,):
            one.post("/x", b"owl")
        assert isinstance(one, Connection)
        one.post("/x", b"owl")  # opens a new connection
        assert len(counts) == 2
        one.close()

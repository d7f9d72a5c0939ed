"""Connections that stay open, and a load that is on for as long as the clock runs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.bench.wire import Connection, ReplyError, connections, saturating

PAUSE = 0.02


class Echo(BaseHTTPRequestHandler):
    """Answers what it was sent after a pause, 503 on /broken; counts requests by connection."""

    protocol_version = "HTTP/1.1"
    asked: Counter[object]

    def do_POST(self) -> None:
        self.asked[self.client_address] += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(PAUSE)
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def echoing() -> Iterator[tuple[str, Counter[object]]]:
    asked: Counter[object] = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Echo,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_requests_share_a_connection() -> None:
    with echoing() as (url, asked), connections(url, 1) as (one,):
        assert [one.post("/x", b"owl"), one.post("/x", b"zebra")] == [b"owl", b"zebra"]
        assert list(asked.values()) == [2]


def test_an_answer_other_than_200_is_an_error() -> None:
    said = "/broken was answered with 503: owl"
    with echoing() as (url, _), connections(url, 1) as (one,), pytest.raises(ReplyError, match=said):
        one.post("/broken", b"owl")


def test_saturation_counts_what_is_answered_under_full_load() -> None:
    with echoing() as (url, asked), connections(url, 4) as clients:
        seconds = saturating(clients, "/x", b"owl", 12)()
    assert seconds is not None
    assert 0.5 * 3 * PAUSE < seconds < 60 * PAUSE  # 12 requests by 4 clients are 3 pauses
    assert len(asked) == 4
    assert 16 <= sum(asked.values()) <= 16 + 3  # 4 before the clock starts, and what is under way when it stops


def test_a_failure_under_load_is_an_error() -> None:
    with echoing() as (url, _), connections(url, 2) as clients, pytest.raises(ReplyError):
        saturating(clients, "/broken", b"owl", 2)()


def test_a_connection_is_closed_in_the_end() -> None:
    with echoing() as (url, asked):
        with connections(url, 1) as (one,):
            one.post("/x", b"owl")
        assert isinstance(one, Connection)
        one.post("/x", b"owl")  # http.client opens another
        assert len(asked) == 2
        one.close()

"""Tests of forms, parsed by another library, and of requests to a small server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_saliency_cli.client.transport import NoReplyError, Part, form, send


def parsed(parts: list[Part]) -> list[Message]:
    """Return the parts, parsed by the standard library."""
    body, kind = form(parts)
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    assert message.is_multipart()
    return [part for part in message.get_payload() if isinstance(part, Message)]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_values_arrive_byte_for_byte(values: list[bytes]) -> None:
    body, kind = form([Part(f"field{i}", value) for i, value in enumerate(values)])
    boundary = kind.partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert [part.split(b"\r\n\r\n", 1)[1][:-2] for part in parts[1:-1]] == values
    assert parts[-1] == b"--\r\n"


def test_text_is_sent_as_utf8() -> None:
    body, _ = form([Part("target", "Zürich × owl")])
    assert "Zürich × owl".encode() in body


@pytest.mark.parametrize("name", ['a"b.png', "a\r\nContent-Type: evil.png", 'x"; name="data'])
def test_a_file_name_cannot_add_headers_or_parameters(name: str) -> None:
    (part,) = parsed([Part("data", b"bytes", name)])
    assert part.get_param("name", header="Content-Disposition") == "data"
    assert part.keys() == ["Content-Disposition", "Content-Type"]
    assert part.get_content_type() == "application/octet-stream"


def test_a_field_without_a_file_name_is_a_plain_field() -> None:
    (field,) = parsed([Part("target", "rust")])
    assert field.get_filename() is None
    assert field.get_payload() == "rust"


def test_a_form_without_parts_is_a_closing_boundary() -> None:
    body, kind = form([])
    assert body == f"--{kind.partition('boundary=')[2]}--\r\n".encode()


class Echo(BaseHTTPRequestHandler):
    """Answers a request with its own content as JSON; the path /moved is a redirect."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        content = {"path": self.path, "headers": dict(self.headers), "body": body.decode()}
        answer = json.dumps(content).encode()
        self.send_response(302 if self.path == "/moved" else 418)
        self.send_header("Content-Type", "Application/JSON; charset=utf-8")
        self.send_header("Location", "/")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Return the address of a server that echoes requests."""
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_request_has_the_given_headers_and_no_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    path = "/explanations/a%20b%2Fc/1.0/target=top2&method=grad%5Fcam"
    reply = send(url + path, "POST", "Zürich", {"X-Own": "1"}, "secret")
    assert (reply.status, reply.content_type) == (418, "application/json")
    assert reply.headers["content-type"] == reply.headers["Content-Type"]
    assert reply.json() == {
        "path": path,
        "headers": {
            "Host": url.removeprefix("http://"),
            "Content-Length": "7",
            "X-Own": "1",
            "Authorization": "Bearer secret",
        },
        "body": "Zürich",
    }


def test_a_redirect_is_not_followed(url: str) -> None:
    assert send(f"{url}/moved", "POST", b"").status == 302


def test_a_server_that_does_not_reply_raises(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(NoReplyError, match="timed out"):
            send(f"http://127.0.0.1:{port}", timeout=0.1)
    with pytest.raises(NoReplyError, match="refused"):
        send(f"http://127.0.0.1:{port}")
    for wrong in ("nonsense", "http://127.0.0.1:port"):
        with pytest.raises(NoReplyError):
            send(wrong)

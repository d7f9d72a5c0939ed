"""The guard: who is answered, and the headers of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from torchserve_saliency_cli.web.guard import HEADERS, Guard, hosts_of

OWN = "127.0.0.1:7860"
ADDRESS = f"http://{OWN}"


async def _answer(request: Request) -> Response:
    return PlainTextResponse("answer")


async def _cached(request: Request) -> Response:
    return PlainTextResponse("answer", headers={"Cache-Control": "max-age=60"})


async def _broken(request: Request) -> Response:
    raise RuntimeError("a defect")


def guarded(others: Sequence[str] = ()) -> Guard:
    routes = [
        Route("/", _answer, methods=["GET", "POST"]),
        Route("/cached", _cached),
        Route("/broken", _broken),
    ]
    return Guard(Starlette(routes=routes), hosts_of("127.0.0.1", 7860, others))


def client(others: Sequence[str] = (), address: str = ADDRESS) -> TestClient:
    return TestClient(guarded(others), address, raise_server_exceptions=False)


def asked(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the status of the answer to a request with exactly these headers."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    asyncio.run(guarded()(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST:7860", "[::1]:7860"])
def test_the_names_of_loopback_are_answered(host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1", "127.0.0.1:7861", "127.0.0.1:7860.evil.example", ""]
)
def test_another_host_or_port_gets_403(host: str) -> None:
    reply = client().get("/", headers={"Host": host})
    assert reply.status_code == 403
    assert reply.json()["type"] == "ForeignHostException"
    assert reply.json()["message"] == "the page is not served under this host name"


def test_a_request_needs_exactly_one_host() -> None:
    assert asked([(b"host", OWN.encode())]) == 200
    assert asked([]) == 403
    assert asked([(b"host", OWN.encode()), (b"host", OWN.encode())]) == 403
    assert asked([(b"host", OWN.encode()), (b"host", b"evil.example")]) == 403


@pytest.mark.parametrize("origin", [ADDRESS, "http://localhost:7860"])
def test_the_page_itself_may_send_its_origin(origin: str) -> None:
    assert client().post("/", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://evil.example:7860", "null", "http://127.0.0.1:7861", "http://127.0.0.1", "", "x"],
)
def test_another_origin_gets_403(origin: str) -> None:
    reply = client().post("/", headers={"Origin": origin})
    assert reply.status_code == 403
    assert reply.json()["type"] == "ForeignOriginException"


def test_one_foreign_origin_beside_the_own_one_gets_403() -> None:
    own, foreign = (b"origin", ADDRESS.encode()), (b"origin", b"http://evil.example")
    assert asked([(b"host", OWN.encode()), own, foreign]) == 403


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://[x]:7860"])
def test_an_origin_that_is_no_address_gets_403(origin: str) -> None:
    reply = client().post("/", headers={"Origin": origin})
    assert reply.status_code == 403
    assert_guarded(reply.headers)


def test_a_further_host_may_be_allowed_with_or_without_its_port() -> None:
    for others, host in (["box.lan"], "box.lan:7860"), (["box.lan"], "box.lan"), (["box.lan:443"], "box.lan:443"):
        assert client(others).get("/", headers={"Host": host}).status_code == 200
        assert client(others).get("/", headers={"Host": f"not-{host}"}).status_code == 403
    assert client(["box.lan:443"]).get("/", headers={"Host": "box.lan:7860"}).status_code == 403


def test_on_port_80_a_host_has_no_port() -> None:
    assert "localhost" in hosts_of("127.0.0.1", 80)
    assert "localhost" not in hosts_of("127.0.0.1", 81)
    assert "[fe80::1]:81" in hosts_of("fe80::1", 81)


def assert_guarded(headers: Mapping[str, str]) -> None:
    found = {name.lower(): value for name, value in headers.items()}
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= found.items()
    assert "cache-control" in found


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/missing", 404), ("/broken", 500)])
def test_every_answer_has_the_security_headers(path: str, status: int) -> None:
    reply = client().get(path)
    assert reply.status_code == status
    assert_guarded(reply.headers)
    assert reply.headers["Cache-Control"] == "no-store"
    assert_guarded(client().delete(path).headers)
    assert_guarded(client().get(path, headers={"Host": "evil.example"}).headers)


def test_an_answer_may_say_how_long_it_can_be_kept() -> None:
    assert client().get("/cached").headers["Cache-Control"] == "max-age=60"


def test_the_policy_allows_own_files_only() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_other_protocols_than_http_are_left_to_the_server() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def unused() -> Message:
        raise AssertionError

    async def refuse(message: Message) -> None:
        raise AssertionError

    asyncio.run(Guard(app, hosts_of("127.0.0.1", 1))({"type": "lifespan"}, unused, refuse))
    assert seen == ["lifespan"]

"""The socket and the process of the page's server."""

from __future__ import annotations

import socket
import threading

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from torchserve_saliency_cli.client.transport import send
from torchserve_saliency_cli.web.running import Listener, PortError, listen, run


def test_port_0_is_a_free_port() -> None:
    listener = listen("127.0.0.1", 0)
    with listener.socket:
        assert listener.port == listener.socket.getsockname()[1] > 0
        assert listener.url == f"http://127.0.0.1:{listener.port}/"


def test_a_port_in_use_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortError) as caught:
            listen("127.0.0.1", port)
    assert str(caught.value).startswith(f"the page cannot listen on 127.0.0.1:{port} (")
    assert str(caught.value).endswith("; --port 0 takes a free port")


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("no such name.invalid", 0)])
def test_an_address_that_is_not_possible_is_a_sentence(address: str, port: int) -> None:
    with pytest.raises(PortError, match=f"the page cannot listen on {address}:{port}"):
        listen(address, port)


def test_the_address_of_an_ipv6_listener_is_in_brackets() -> None:
    with socket.socket() as unused:
        assert Listener(unused, "::1", 7860).url == "http://[::1]:7860/"


def test_started_is_called_when_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[uvicorn.Server] = []
    usual = uvicorn.Server.startup

    async def startup(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        servers.append(server)
        await usual(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    listener = listen("127.0.0.1", 0)
    started = threading.Event()
    thread = threading.Thread(target=run, args=(PlainTextResponse("answer"), listener, started.set))
    thread.start()
    assert started.wait(20)
    reply = send(listener.url)
    servers[0].should_exit = True
    thread.join(20)
    assert (reply.status, reply.body) == (200, b"answer")
    assert "Server" not in reply.headers
    assert not thread.is_alive()

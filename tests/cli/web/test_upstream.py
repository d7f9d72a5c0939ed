"""Requests to TorchServe: tokens, refusals, servers that do not answer, and names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.cli.web.small_torchserve import TOKENS, SmallTorchServe, write_key_file
from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.client.errors import UnreachableError
from torchserve_saliency_cli.torchserve.processes import free_ports
from torchserve_saliency_cli.web.upstream import Upstream

T = TypeVar("T")
INVALID = {"code": 400, "type": "InvalidKeyException", "message": "Token Authentication failed"}


def ask(url: str, question: Callable[[Upstream], Awaitable[T]], key_file: Path | None = None) -> T:
    """Return the answer of an upstream, which is closed after it."""

    async def run() -> T:
        upstream = Upstream(url, url, key_file)
        try:
            return await question(upstream)
        finally:
            await upstream.close()

    return asyncio.run(run())


def refused(url: str, question: Callable[[Upstream], Awaitable[object]], key_file: Path | None = None) -> RequestError:
    """Return the error of a question; it never has a token in it."""
    with pytest.raises(RequestError) as caught:
        ask(url, question, key_file)
    assert not any(token in str(caught.value) + caught.value.message for token in TOKENS.values())
    return caught.value


def explain(upstream: Upstream) -> Awaitable[object]:
    return upstream.explain("m", "1.0", None, {})


def test_each_address_gets_its_own_token(torchserve: SmallTorchServe, tmp_path: Path) -> None:
    torchserve.serve_model("m", ["1.0"], "1.0")
    key_file = write_key_file(tmp_path)
    ask(torchserve.url, lambda upstream: upstream.describe("m", "1.0"), key_file)
    ask(torchserve.url, explain, key_file)
    tokens = [request.authorization for request in torchserve.requests]
    assert tokens == ["Bearer management-secret", "Bearer inference-secret"]


def test_the_key_file_is_read_for_each_request(torchserve: SmallTorchServe, tmp_path: Path) -> None:
    torchserve.serve_model("m", ["1.0"], "1.0")
    key_file = write_key_file(tmp_path)

    async def twice(upstream: Upstream) -> None:
        await upstream.describe("m", "1.0")
        write_key_file(tmp_path, TOKENS | {"management": "renewed"})
        await upstream.describe("m", "1.0")
        key_file.unlink()
        await upstream.describe("m", "1.0")

    ask(torchserve.url, twice, key_file)
    tokens = [request.authorization for request in torchserve.requests]
    assert tokens == ["Bearer management-secret", "Bearer renewed", None]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"inference": {}}', '{"inference": 1, "management": null}'])
def test_a_key_file_that_cannot_be_read_is_no_token(torchserve: SmallTorchServe, tmp_path: Path, text: str) -> None:
    path = tmp_path / "key_file.json"
    path.write_text(text)
    ask(torchserve.url, explain, path)
    assert torchserve.requests[0].authorization is None


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_token_is_a_sentence_without_the_token(
    torchserve: SmallTorchServe, tmp_path: Path, status: int
) -> None:
    torchserve.answers["POST", "/explanations/m/1.0"] = (status, INVALID)
    torchserve.answers["GET", "/models/m/1.0?customized=true"] = (status, INVALID)
    key_file = write_key_file(tmp_path)
    for question in (explain, lambda upstream: upstream.describe("m", "1.0")):
        error = refused(torchserve.url, question, key_file)
        assert (error.status, error.type) == (502, "InvalidKeyException")
        assert "another server's, or older than a day" in error.message
    assert "start the page with --key-file" in refused(torchserve.url, explain).message


def test_no_server_is_a_sentence_with_its_address(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    key_file = write_key_file(tmp_path)
    for question in (explain, Upstream.models):
        error = refused(url, question, key_file)
        assert isinstance(error, UnreachableError)
        assert error.message == f"no TorchServe answers at {url}"


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:port", "ftp://127.0.0.1", "http://[", "http://"])
def test_an_address_that_is_none_is_the_same_sentence(url: str) -> None:
    assert refused(url, explain).message == f"no TorchServe answers at {url.rstrip('/')}"


def test_a_server_that_hangs_up_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        async def hang_up(upstream: Upstream) -> None:
            asked = asyncio.create_task(upstream.models())
            connection, _ = await asyncio.get_running_loop().run_in_executor(None, listening.accept)
            connection.close()
            await asked

        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert isinstance(refused(url, hang_up), UnreachableError)


@pytest.mark.parametrize("answer", [b"<html>another server</html>", b"", [], {}, {"models": 3}, "text", None])
def test_a_server_that_is_no_torchserve_is_a_sentence(torchserve: SmallTorchServe, answer: object) -> None:
    torchserve.answers["GET", "/models?limit=100&next_page_token=0"] = (200, answer)
    error = refused(torchserve.url, Upstream.models)
    assert (error.status, error.message) == (502, f"no TorchServe answers at {torchserve.url}: it is another server")


def test_a_question_is_a_form_with_the_picture_and_the_options(torchserve: SmallTorchServe) -> None:
    torchserve.answers["POST", "/explanations/m/1.0"] = (422, {"code": 422, "type": "X", "message": "no"})
    options = {"method": "gradient", "target": 3, "steps": "20", "quality": True, "layer": ["a", "b"]}
    reply = ask(torchserve.url, lambda upstream: upstream.explain("m", "1.0", ("a.png", b"\0\xff"), options))
    assert (reply.status, reply.json()) == (422, {"code": 422, "type": "X", "message": "no"})
    parts = torchserve.requests[0].body.split(b"\r\n--")
    values = {part.split(b'name="')[1].split(b'"')[0]: part.split(b"\r\n\r\n", 1)[1] for part in parts[:-1]}
    plain = {b"method": b"gradient", b"target": b"3", b"steps": b"20", b"quality": b"true"}
    assert values == plain | {b"layer": b'["a", "b"]', b"data": b"\0\xff"}


def test_a_text_that_is_no_unicode_is_400(torchserve: SmallTorchServe) -> None:
    error = refused(torchserve.url, lambda upstream: upstream.explain("m", "1.0", None, {"target": "\ud800"}))
    assert (error.status, error.option) == (400, "target")

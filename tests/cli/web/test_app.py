"""The routes of the page's server, in front of a small server with fixed answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.cli.web.small_torchserve import DESCRIPTION, TOKENS, SmallTorchServe, write_key_file
from tests.cli.web.test_previews import encoded, noise
from torchserve_saliency_cli.web import app as module
from torchserve_saliency_cli.web import pictures as picture_module
from torchserve_saliency_cli.web.app import STATIC, create_app
from torchserve_saliency_cli.web.pictures import Pictures
from torchserve_saliency_cli.web.upstream import Upstream

ADDRESS = "http://127.0.0.1:7860"
EXPLANATION: dict[str, list[object]] = {"predictions": [], "explanations": []}


@pytest.fixture
def torchserve(torchserve: SmallTorchServe) -> SmallTorchServe:
    """Return a server with one model."""
    torchserve.list_models(["m"])
    torchserve.serve_model("m", ["1.0"], "1.0")
    torchserve.answers["POST", "/explanations/m/1.0"] = (200, EXPLANATION)
    return torchserve


@pytest.fixture
def client(torchserve: SmallTorchServe, tmp_path: Path) -> Iterator[TestClient]:
    """Return a client of the page, with two samples; no answer to it has a token."""
    samples = tmp_path / "samples"
    (samples / "cat").mkdir(parents=True)
    for name in ("cat/a b.png", "c.png"):
        (samples / name).write_bytes(encoded(noise(8, 8)))
    upstream = Upstream(torchserve.url, torchserve.url, write_key_file(tmp_path))
    app = create_app(upstream, Pictures(samples), ["127.0.0.1:7860"])
    with TestClient(app, ADDRESS, raise_server_exceptions=False) as made:
        yield made


def question(picture: object, **options: object) -> bytes:
    return json.dumps({"picture": picture, "options": options}).encode()


def test_the_page_and_its_files_are_small_and_complete(client: TestClient) -> None:
    for path in ("/", "/compare"):
        reply = client.get(path)
        assert reply.headers["Content-Type"].startswith("text/html")
        assert reply.headers["Cache-Control"] == "no-cache"
    sizes = {path.name: len(client.get(f"/static/{path.name}").content) for path in STATIC.iterdir()}
    later = sum(size for name, size in sizes.items() if fnmatch(name, "gallery*.js"))  # loaded when it is opened
    assert 1000 < sum(sizes.values()) - later < 100_000
    assert later < 25_000
    assert client.get("/static/page.js").headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/"])
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert reply.json()["type"] == "PageException"


def test_the_server_route_names_models_and_samples(client: TestClient, torchserve: SmallTorchServe) -> None:
    assert client.get("/api/server").json() == {
        "url": torchserve.url,
        "tokens": True,
        "models": [{"name": "m", "version": "1.0", "default": True, "parallel": 1}],
        "samples": [{"name": "c.png"}, {"name": "cat/a b.png"}],
    }


def test_the_description_is_passed_on(client: TestClient) -> None:
    assert client.get("/api/models/m/1.0").json() == DESCRIPTION
    missing = client.get("/api/models/other/1.0")
    assert (missing.status_code, missing.json()["type"]) == (404, "ResourceNotFoundException")


def test_a_colormap_has_256_colours(client: TestClient) -> None:
    reply = client.get("/api/colormaps")
    assert {len(text) for text in reply.json().values()} == {4 * 256}
    assert reply.headers["Cache-Control"] == "max-age=3600"


def test_a_picture_is_kept_shown_and_sent_on(client: TestClient, torchserve: SmallTorchServe) -> None:
    data = encoded(noise(40, 60))
    identifier = client.post("/api/pictures", content=data).json()["id"]
    shown = client.get(f"/api/pictures/{identifier}")
    assert shown.headers["Content-Type"] == "image/png"
    assert client.get(f"/api/pictures/{identifier}?side=20").headers["Content-Type"] == "image/jpeg"
    reply = client.post("/api/explanations/m/1.0", content=question(identifier, method="gradient"))
    assert (reply.status_code, reply.json()) == (200, EXPLANATION)
    assert data in torchserve.requests[-1].body
    sample = client.post("/api/explanations/m/1.0", content=question("sample:cat/a b.png"))
    assert sample.status_code == 200
    assert b'filename="a b.png"' in torchserve.requests[-1].body
    assert client.post("/api/explanations/m/1.0", content=question(None)).status_code == 200
    assert b'name="data"' not in torchserve.requests[-1].body


@pytest.mark.parametrize("side", ["", "x", "-1", "1e3", "²", "9" * 5000])
def test_a_size_that_is_no_number_is_the_usual_one(client: TestClient, side: str) -> None:
    assert client.get("/api/pictures/sample:c.png", params={"side": side}).status_code == 200


@pytest.mark.parametrize("name", ["sample:../../etc/passwd", "sample:%2e%2e%2fkey_file.json", "x", "sha256:0"])
def test_a_picture_that_is_not_here_is_404(client: TestClient, name: str) -> None:
    for reply in (
        client.get(f"/api/pictures/{name}"),
        client.post("/api/explanations/m/1.0", content=question(name)),
    ):
        assert reply.status_code == 404
        assert reply.json()["type"] in ("PictureNotFoundException", "PageException")


def test_a_file_that_is_no_picture_is_415_and_an_empty_one_400(client: TestClient) -> None:
    identifier = client.post("/api/pictures", content=b"no picture").json()["id"]
    reply = client.get(f"/api/pictures/{identifier}")
    assert (reply.status_code, reply.json()["type"]) == (415, "UnsupportedImageException")
    assert client.post("/api/pictures", content=b"").status_code == 400


def test_a_body_that_is_too_long_is_413(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_module, "MOST_BYTES", 100)
    for path in ("/api/pictures", "/api/explanations/m/1.0"):
        assert client.post(path, content=iter([b"x" * 60] * 3)).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"3", b'"text"', b"\xff", b"{}", b'{"picture": "x"}', b'{"options": {}}'),
        *(b'{"picture": 3, "options": {}}', b'{"picture": null, "options": []}', b"[" * 100_000),
    ],
)
def test_another_body_is_400(client: TestClient, body: bytes) -> None:
    reply = client.post("/api/explanations/m/1.0", content=body)
    assert (reply.status_code, reply.json()["type"]) == (400, "BadRequestException")


def test_errors_of_the_model_are_passed_on(client: TestClient, torchserve: SmallTorchServe) -> None:
    error = {"code": 422, "type": "UnknownLabelException", "message": "no class is named 'x'", "option": "target"}
    torchserve.answers["POST", "/explanations/m/1.0"] = (422, error)
    reply = client.post("/api/explanations/m/1.0", content=question(None, target="x"))
    assert (reply.status_code, reply.json()) == (422, error)
    torchserve.answers["POST", "/explanations/m/1.0"] = (413, b"")
    reply = client.post("/api/explanations/m/1.0", content=question("sample:c.png"))
    assert reply.json()["option"] == "data"
    assert "max_request_size" in reply.json()["message"]


def test_wrong_methods_and_paths_are_errors_in_the_same_shape(client: TestClient) -> None:
    replies = [client.get("/nothing"), client.put("/api/pictures"), client.get("/api/explanations/m/1.0")]
    assert [reply.status_code for reply in replies] == [404, 405, 405]
    assert all(reply.json().keys() == {"code", "type", "message"} for reply in replies)


def test_an_unreachable_server_is_502(client: TestClient, torchserve: SmallTorchServe) -> None:
    torchserve.shutdown()
    torchserve.server_close()
    for reply in (client.get("/api/server"), client.post("/api/explanations/m/1.0", content=question(None))):
        assert reply.status_code == 502
        assert reply.json()["message"] == f"no TorchServe answers at {torchserve.url}"


def test_a_defect_is_a_500_without_its_reason(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, side: int) -> tuple[bytes, str]:
        raise RuntimeError("/a/path")

    monkeypatch.setattr(module, "preview", fail)
    reply = client.get("/api/pictures/sample:c.png")
    assert reply.status_code == 500
    assert reply.json()["message"] == "the server of the page failed; its log has the reason"
    assert "Content-Security-Policy" in reply.headers


def test_no_token_is_in_any_answer(client: TestClient, torchserve: SmallTorchServe, tmp_path: Path) -> None:
    refusal = {"code": 400, "type": "InvalidKeyException", "message": "Token Authentication failed"}
    torchserve.answers["POST", "/explanations/refused/1.0"] = (400, refusal)
    replies = [client.get(path) for path in ("/", "/api/server", "/api/models/m/1.0", "/api/colormaps", "/x")]
    replies += [client.post(f"/api/explanations/{name}/1.0", content=question(None)) for name in ("m", "refused", "x")]
    replies += [client.get("/api/pictures/sample:../key_file.json")]
    for reply in replies:
        text = reply.text + repr(reply.headers)
        assert not any(token in text for token in TOKENS.values())
        assert str(tmp_path) not in text

"""No token reaches the browser, no request leaves the host, and other sites are refused."""

from __future__ import annotations

import hashlib
import json

from playwright.sync_api import Browser, Response

from tests.cli.web.small_torchserve import small_torchserve
from tests.cli.web.visit import PageServer, Visit
from torchserve_saliency_cli.client.transport import send


def test_no_answer_has_a_token(visit: Visit, page_server: PageServer) -> None:
    tokens = [entry["key"] for entry in json.loads(page_server.key_file.read_text()).values()]
    assert len(tokens) == 3
    answers: list[Response] = []
    visit.page.on("response", lambda answer: answers.append(answer))
    visit.open("gradient", "integrated_gradients?steps=0", "gardient", quality="1")
    visit.choose("Class", "rost")
    visit.upload({"name": "empty.png", "mimeType": "image/png", "buffer": b""})
    kinds = {answer.url.removeprefix(visit.url).split("/")[0] for answer in answers if "blob:" not in answer.url}
    assert {"", "static", "api"} <= kinds
    assert {200, 400} <= {answer.status for answer in answers}
    for answer in answers:
        text = answer.body() + json.dumps(answer.all_headers()).encode()
        assert not any(token.encode() in text for token in tokens)
    stored = visit.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert stored == '[{},{},""]'


def test_the_page_of_another_site_cannot_ask(browser: Browser, page_server: PageServer) -> None:
    """A page on another port sends a picture, as any site can; it is not kept."""
    script = f"""fetch("{page_server.url}api/pictures", {{method: "POST", body: "x", mode: "no-cors"}})"""
    kept = f"{page_server.url}api/pictures/sha256:{hashlib.sha256(b'x').hexdigest()}"
    with small_torchserve() as other:
        other.answers["GET", "/"] = (200, f"<script>{script}</script>".encode())
        context = browser.new_context()
        page = context.new_page()
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/api/pictures")):
            page.goto(other.url)
        assert send(kept).status == 404
        context.close()
    assert send(f"{page_server.url}api/pictures", "POST", b"x").status == 200
    assert send(kept).status == 415


def test_a_foreign_host_or_origin_is_refused(page_server: PageServer) -> None:
    assert send(page_server.url).status == 200
    assert send(page_server.url, headers={"Host": "evil.example"}).status == 403
    for path in ("", "api/server", "static/page.js", "api/explanations/leaves/1.0"):
        assert send(page_server.url + path, headers={"Origin": "http://evil.example"}).status == 403
        assert send(page_server.url + path, headers={"Origin": "null"}).status == 403

"""What SECURITY.md promises: tokens, a management that registers nothing, loopback, weights without code."""

from __future__ import annotations

import json
import pickle
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import torch
from PIL import Image

from saliency.body import explanation_body
from saliency.errors import ModelError
from saliency.explainer import Explainer
from saliency.labels import Labels
from saliency.weights import read_state
from scripts.processes import members
from scripts.server import CONFIG, TorchServe
from scripts.settings import read_properties
from scripts.wire import send
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture

NO = (400, 401, 403)
REGISTER = "/models?url=https://127.0.0.1/evil.mar"


@pytest.mark.parametrize("path", ["/models", "/models/leaves", "/models/leaves?customized=true"])
def test_the_management_answers_its_own_token_alone(server: TorchServe, path: str) -> None:
    for token in (None, "wrong", server.token("inference")):
        assert send(server.management_url + path, "GET", None, None, token).status in NO
    assert send(server.management_url + path, "GET", None, None, server.token("management")).status == 200


def test_inference_does_not_answer_the_managements_token(server: TorchServe, leaf: bytes) -> None:
    reply = send(server.url + "/predictions/leaves", "POST", leaf, None, server.token("management"))
    assert reply.status in NO


@pytest.mark.parametrize(("method", "path"), [("POST", REGISTER), ("DELETE", "/models/leaves")])
def test_no_model_comes_or_goes_over_the_wire(server: TorchServe, method: str, path: str) -> None:
    for token in (None, server.token("inference"), server.token("management")):
        reply = send(server.management_url + path, method, None, None, token)
        assert 400 <= reply.status < 500
    names = {model["modelName"] for model in server.models()}
    assert "leaves" in names
    assert "evil" not in names


@pytest.mark.parametrize("kind", ["inference", "management"])
def test_no_workflow_is_fetched_whose_handler_would_run(server: TorchServe, kind: str) -> None:
    asked: list[str] = []

    class Offering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Offering) as offering:
        thread = threading.Thread(target=offering.serve_forever, daemon=True)
        thread.start()
        for url in (
            f"http://127.0.0.1:{offering.server_port}/evil.war",
            "file:///etc/hostname",
            "../evil.war",
            "evil.war",
        ):
            path = f"/workflows?workflow_name=evil&url={quote(url, safe='')}"
            assert 400 <= send(server.management_url + path, "POST", None, None, server.token(kind)).status < 500
        offering.shutdown()
    assert asked == []


def test_everything_listens_on_loopback_alone(server: TorchServe) -> None:
    own = {process.pid for process in members(server.pid)}
    held = [one for one in psutil.net_connections("tcp") if one.pid in own and one.status == psutil.CONN_LISTEN]
    listening = {one.laddr.ip for one in held}
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


def test_the_settings_leave_pillows_guard_on() -> None:
    assert read_properties(CONFIG)["limit_max_image_pixels"] == "true"
    assert Image.MAX_IMAGE_PIXELS is not None


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("write", [torch.save, lambda held, path: Path(path).write_bytes(pickle.dumps(held))])
def test_weights_that_carry_code_are_refused_and_nothing_of_it_runs(tmp_path: Path, write: Any) -> None:
    made_by_code, weights = tmp_path / "owned", tmp_path / "w.pt"
    write({"weight": torch.zeros(1), "more": Payload(made_by_code)}, weights)
    with pytest.raises(ModelError, match="not a state dict that can be read safely"):
        read_state(weights)
    assert not made_by_code.exists()


def test_a_label_of_markup_is_sent_as_the_text_that_it_is() -> None:
    label = "<script>alert(1)</script>"
    named = replace(classifier(made(Modules)), labels=Labels((label, "cat", "dog", "elk", "fox")))
    body = explanation_body(Explainer(named).explain(picture(1), target=0), 10_000_000)
    assert json.loads(json.dumps(body["explanations"]))[0]["target"]["label"] == label

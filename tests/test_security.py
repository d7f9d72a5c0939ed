"""The guarantees of SECURITY.md: tokens, no registration of models, loopback only, weights without code."""

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

from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency.errors import ModelError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.checkpoint import read_state
from torchserve_saliency.model.heads import single_head
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency_cli.client.transport import send
from torchserve_saliency_cli.files import CONFIG
from torchserve_saliency_cli.torchserve.processes import members
from torchserve_saliency_cli.torchserve.properties import read_properties
from torchserve_saliency_cli.torchserve.server import TorchServe

NO = (400, 401, 403)
REGISTER = "/models?url=https://127.0.0.1/evil.mar"


@pytest.mark.parametrize("path", ["/models", "/models/leaves", "/models/leaves?customized=true"])
def test_the_management_api_accepts_only_its_own_token(server: TorchServe, path: str) -> None:
    for token in (None, "wrong", server.token("inference")):
        assert send(server.management_url + path, "GET", None, None, token).status in NO
    assert send(server.management_url + path, "GET", None, None, server.token("management")).status == 200


def test_inference_does_not_accept_the_management_token(server: TorchServe, leaf: bytes) -> None:
    reply = send(server.url + "/predictions/leaves", "POST", leaf, None, server.token("management"))
    assert reply.status in NO


@pytest.mark.parametrize(("method", "path"), [("POST", REGISTER), ("DELETE", "/models/leaves")])
def test_no_model_can_be_registered_or_removed_over_http(server: TorchServe, method: str, path: str) -> None:
    for token in (None, server.token("inference"), server.token("management")):
        reply = send(server.management_url + path, method, None, None, token)
        assert 400 <= reply.status < 500
    names = {model["modelName"] for model in server.models()}
    assert "leaves" in names
    assert "evil" not in names


@pytest.mark.parametrize("kind", ["inference", "management"])
def test_no_workflow_is_fetched_as_its_handler_would_run(server: TorchServe, kind: str) -> None:
    fetched: list[str] = []

    class Offering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
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
    assert fetched == []


def test_all_ports_listen_on_loopback_only(server: TorchServe) -> None:
    own = {process.pid for process in members(server.pid)}
    connections = [one for one in psutil.net_connections("tcp") if one.pid in own and one.status == psutil.CONN_LISTEN]
    listening = {one.laddr.ip for one in connections}
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


def test_the_settings_keep_pillows_pixel_limit() -> None:
    assert read_properties(CONFIG)["limit_max_image_pixels"] == "true"
    assert Image.MAX_IMAGE_PIXELS is not None


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("write", [torch.save, lambda state, path: Path(path).write_bytes(pickle.dumps(state))])
def test_weights_that_contain_code_are_an_error_and_the_code_does_not_run(tmp_path: Path, write: Any) -> None:
    made_by_code, weights = tmp_path / "owned", tmp_path / "w.pt"
    write({"weight": torch.zeros(1), "more": Payload(made_by_code)}, weights)
    with pytest.raises(ModelError, match="not a state dict that can be read safely"):
        read_state(weights)
    assert not made_by_code.exists()


def test_a_label_with_markup_is_sent_as_plain_text() -> None:
    label = "<script>alert(1)</script>"
    named = replace(classifier(made(Modules)), heads=single_head((label, "cat", "dog", "elk", "fox")))
    response = encode(Explainer(named).explain(picture(1), target=0), 10_000_000)
    assert json.loads(response.body)["explanations"][0]["target"]["label"] == label

"""The command `explain`: its requests, output, files and error messages."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchserve_saliency_cli import explain
from torchserve_saliency_cli.torchserve.processes import free_ports
from torchserve_saliency_cli.torchserve.server import TorchServe

OWL = {"index": 24, "label": "great grey owl", "probability": 0.981, "logit": 14.2}
JAY = {"index": 17, "label": "jay", "probability": 0.012, "logit": 9.8}


class Stub(ThreadingHTTPServer):
    """An explanations route with answers set by the test, which records its requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StubHandler)
        self.requests: list[tuple[str, Message, dict[str, bytes]]] = []
        self.status = 200
        self.kind = "application/json"
        self.headers: dict[str, str] = {}
        self.body = json.dumps(answer([OWL])).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class StubHandler(BaseHTTPRequestHandler):
    """Answers every POST with the fields of its server."""

    server: Stub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = message_from_bytes(b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        parts = [part for part in message.get_payload() if isinstance(part, Message)]
        fields = {
            str(part.get_param("name", header="Content-Disposition")): bytes(part.get_payload(decode=True))
            for part in parts
        }
        self.server.requests.append((self.path, self.headers, fields))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(self.server.body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def picture(colour: str, mode: str = "RGB") -> str:
    """Return a base64 PNG of 20 by 10 pixels."""
    buffer = io.BytesIO()
    Image.new(mode, (20, 10), colour).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def answer(targets: list[dict[str, object]]) -> dict[str, object]:
    """Return an explanation body of the contract, with another picture for every target."""
    entries = [
        {
            "target": target,
            "against": None,
            "method": "grad_cam",
            "parameters": {},
            "saliency": {"shape": [10, 20], "min": 0.0, "max": 1.0, "data": picture("black", "L")},
            "image": {"render": "overlay", "data": picture(colour)},
            "quality": None,
        }
        for target, colour in zip(targets, ("red", "blue"), strict=False)
    ]
    return {
        "model": {"name": "m", "version": "1.0"},
        "predictions": [OWL, JAY],
        "explanations": entries,
        "input": {"width": 8, "height": 8, "crop": [0.0, 0.0, 8.0, 8.0]},
    }


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def owl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a picture file in the working directory, which is empty otherwise."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8), "grey").save("owl.png")
    return Path("owl.png")


def run(stub: Stub, *arguments: str | Path) -> int:
    """Return the client's exit status for these arguments and the stub."""
    return explain.main([*map(str, arguments), "--model", "m", "--url", stub.url])


def test_a_picture_is_sent_as_a_form_with_its_options(stub: Stub, owl: Path) -> None:
    assert run(stub, "--target", "great grey owl", owl, "--method=grad_cam", "--top-k", "3", "--alpha", "-1") == 0
    ((path, _, fields),) = stub.requests
    assert path == "/explanations/m"
    assert fields.pop("data") == owl.read_bytes()
    assert fields == {
        "target": b"great grey owl",
        "method": b"grad_cam",
        "top_k": b"3",
        "alpha": b"-1",
        "render": b"overlay",
        "caption": b"true",
        "format": b"json",
    }


def test_the_predictions_are_printed_and_the_picture_is_saved(
    stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stub, owl, "--out", "deep/out.png") == 0
    printed = capsys.readouterr().out
    assert "98.10%  great grey owl" in printed
    assert "1.20%  jay" in printed
    assert "explained: great grey owl, by grad_cam" in printed
    assert Image.open("deep/out.png").convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_options_without_a_value_are_true_and_pictures_may_stand_anywhere(stub: Stub, owl: Path) -> None:
    assert run(stub, "--new-option=a=b", owl, "--json", "a.jsonl", owl, "--quality", "--alpha", "-1", "--explain") == 0
    for _, _, fields in stub.requests:
        assert fields.pop("data") == owl.read_bytes()
        assert fields == {
            "new_option": b"a=b",
            "quality": b"true",
            "alpha": b"-1",
            "explain": b"true",
            "render": b"overlay",
            "caption": b"true",
            "format": b"json",
        }
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["-x", "owl.png"], "there is no flag -x"), ([], "name at least one picture"), (["owl.png", "--out"], "--out")],
)
def test_a_wrong_command_line_exits_with_2(
    stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit) as exited:
        run(stub, *arguments)
    assert exited.value.code == 2
    assert reason in capsys.readouterr().err
    assert not stub.requests


def test_targets_are_saved_side_by_side(stub: Stub, owl: Path) -> None:
    stub.body = json.dumps(answer([OWL, JAY])).encode()
    assert run(stub, owl, "--target", "24;17", "--out", "both.png") == 0
    both = Image.open("both.png").convert("RGBA")
    assert both.size == (48, 10)
    assert [both.getpixel((x, 5)) for x in (0, 24, 47)] == [(255, 0, 0, 255), (0, 0, 0, 0), (0, 0, 255, 255)]


def test_the_default_file_is_in_the_working_directory(stub: Stub, tmp_path: Path, owl: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    owl.rename("elsewhere/owl.jpg")
    assert run(stub, "elsewhere/owl.jpg") == 0
    assert Path("owl.saliency.png").exists()


def test_every_picture_of_several_folders_is_explained(
    stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/x.png", "a/y.JPG", "a/notes.txt", "b/x.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(owl.read_bytes())
    assert run(stub, "a", "b", "--out", "made") == 0
    assert sorted(path.name for path in Path("made").iterdir()) == [
        "x.saliency-2.png",
        "x.saliency.png",
        "y.saliency.png",
    ]
    assert capsys.readouterr().out.count("great grey owl") == 3


def test_the_servers_error_message_is_printed(stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "no class is named 'grat grey owl'; did you mean 'great grey owl'?"
    stub.status, stub.body = (
        422,
        json.dumps({"code": 422, "type": "UnknownLabelException", "message": message}).encode(),
    )
    assert run(stub, owl, "--target", "grat grey owl") == 1
    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == [owl]


def test_an_error_without_json_is_printed(stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stub.status, stub.body = 413, b""
    assert run(stub, owl) == 1
    assert "413" in capsys.readouterr().err


def test_an_unreachable_server_is_an_error_message(
    owl: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    (port,) = free_ports(1)
    assert explain.main([str(owl), "--model", "m", "--url", f"http://127.0.0.1:{port}"]) == 1
    error = capsys.readouterr().err
    assert f"no TorchServe answers at http://127.0.0.1:{port}" in error
    assert "Traceback" not in error


def test_a_missing_picture_is_an_error_message(stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stub, "no.png") == 1
    assert "no.png" in capsys.readouterr().err
    assert not stub.requests


@pytest.mark.parametrize(
    ("arguments", "token"),
    [((), "from-here"), (("--key-file", "other.json"), "from-other"), (("--token", "given"), "given")],
)
def test_the_token_comes_from_a_flag_or_a_key_file(
    stub: Stub, owl: Path, arguments: tuple[str, ...], token: str
) -> None:
    for name, key in (("key_file.json", "from-here"), ("other.json", "from-other")):
        Path(name).write_text(json.dumps({"inference": {"key": key}, "management": {"key": "not this"}}))
    assert run(stub, owl, *arguments) == 0
    assert stub.requests[0][1]["Authorization"] == f"Bearer {token}"


def test_no_token_is_sent_if_there_is_none(stub: Stub, owl: Path) -> None:
    assert run(stub, owl) == 0
    assert stub.requests[0][1]["Authorization"] is None


def test_an_invalid_key_file_is_an_error_message(stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("keys.json").write_text("{}")
    assert run(stub, owl, "--key-file", "keys.json") == 1
    assert "keys.json" in capsys.readouterr().err


def test_json_is_printed_without_anything_else(stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stub, owl, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == {"path": "owl.png", "map": "owl.saliency.png", **answer([OWL])}


def test_json_of_several_pictures_is_one_line_each(stub: Stub, owl: Path) -> None:
    assert run(stub, owl, owl, "--json", "all.jsonl") == 0
    lines = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert [line.pop("map") for line in lines] == ["owl.saliency.png", "owl.saliency-2.png"]
    assert lines == [{"path": "owl.png", **answer([OWL])}] * 2


def test_an_array_is_saved_unchanged(stub: Stub, owl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(12, dtype=np.float32).reshape(1, 3, 4))
    stub.kind, stub.body = "application/x-npy", array.getvalue()
    stub.headers = {"Saliency-Metadata": json.dumps(answer([OWL]))}
    assert run(stub, owl, "--format", "npy") == 0
    assert Path("owl.saliency.npy").read_bytes() == stub.body
    assert stub.requests[0][2]["format"] == b"npy"
    assert "great grey owl" in capsys.readouterr().out


def test_the_version_is_in_the_path_and_names_are_quoted(stub: Stub, owl: Path) -> None:
    arguments = [str(owl), "--model", "a b/c", "--version", "2.0", "--url", stub.url]
    assert explain.main(arguments) == 0
    assert stub.requests[0][0] == "/explanations/a%20b%2Fc/2.0"


def test_the_live_server_explains_a_leaf(
    server: TorchServe, leaf: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "leaf.png").write_bytes(leaf)
    out = tmp_path / "both.png"
    command = [tmp_path / "leaf.png", "--model", "leaves", "--url", server.url, "--token", server.token() or ""]
    status = explain.main([*map(str, command), "--target", "rust;scab", "--method", "grad_cam", "--out", str(out)])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    width, height = Image.open(out).size
    assert (width, height) >= (2 * 224 + 8, 224)
    assert "explained: rust, by grad_cam" in printed.out


def test_errors_of_the_live_server_are_printed(
    server: TorchServe, leaf: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "leaf.png").write_bytes(leaf)
    command = [str(tmp_path / "leaf.png"), "--model", "leaves", "--url", server.url]
    assert explain.main([*command, "--token", server.token() or "", "--target", "rusty"]) == 1
    assert "422 UnknownLabelException" in capsys.readouterr().err
    assert explain.main([*command, "--token", "wrong"]) == 1
    assert "pass --token or --key-file" in capsys.readouterr().err

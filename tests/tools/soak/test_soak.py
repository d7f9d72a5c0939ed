"""A soak: requests, faults, and a short run with a real server whose worker is killed."""

from __future__ import annotations

import json
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytest

from tests.test_explainer import picture
from tests.tools.soak.test_comparison import json_reply, reply
from tests.tools.soak.test_load import REQUEST, fake_server
from tools.soak import __main__ as soak
from tools.soak import measurements, request_mix
from tools.soak.faults import FAULTS, add_second_version, register_again
from tools.soak.load import Load
from tools.soak.manifest import copy_with_version, name_and_version, other_version
from tools.soak.measurements import Sample, Soak
from tools.soak.report import markdown
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.torchserve.server import TorchServe


def write_archive(path: Path, **model: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model, "archiverVersion": "0.12"}))
        file.writestr("net.pt", b"weights")
    return path


def test_name_and_version_come_from_the_manifest(tmp_path: Path) -> None:
    mine = write_archive(tmp_path / "file.mar", modelName="mine", modelVersion="2.0")
    assert name_and_version(mine) == ("mine", "2.0")
    assert other_version(mine) == "3.0"
    assert other_version(write_archive(tmp_path / "old.mar", modelName="mine", modelVersion="1.0")) == "2.0"
    other = copy_with_version(mine, "3.0")
    assert other != mine
    assert name_and_version(other) == ("mine", "3.0")
    assert zipfile.ZipFile(other).read("net.pt") == b"weights"


def test_faults_use_the_name_and_version_of_the_manifest(tmp_path: Path) -> None:
    mine = write_archive(tmp_path / "a file.mar", modelName="mine", modelVersion="2.0")
    calls: list[str] = []

    class Manager:
        def request(self, method: str, path: str, api: str) -> Reply:
            calls.append(f"{method} {path}")
            return reply(b"{}")

    server = cast("TorchServe", Manager())
    register_again(server, mine)
    add_second_version(server, mine)
    register = "&initial_workers=1&synchronous=true"
    assert calls == [
        "DELETE /models/mine/2.0",
        f"POST /models?url=a%20file.mar{register}",
        f"POST /models?url=a%20file-3.0.mar{register}",
        "PUT /models/mine/3.0/set-default",
    ]


def test_an_exception_while_a_fault_is_injected_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(server: TorchServe, archive: Path) -> None:
        raise RuntimeError("POST /models: 500 |\n")

    monkeypatch.setattr(soak, "FAULTS", {"killed": failing})
    server = fake_server(lambda path, body: json_reply({"cat": 0.5}))
    with Load(server, [REQUEST], [REQUEST], {REQUEST: json_reply({"cat": 0.5})}, 1) as load:
        fault = soak._inject("killed", server, tmp_path, load, 0.01)
    assert fault.failed.startswith("RuntimeError: POST /models: 500")
    assert fault.recovery is not None
    measured = Soak(load.results, [Sample(0, 1, (1,)), Sample(1, 1, (1,))], 1, [fault])
    assert next(measurements.failures(measured)).startswith("FAILED: killed: RuntimeError")
    assert r"| killed  | failed: RuntimeError: POST /models: 500 \|; " in markdown({}, measured, "soak.png")


def test_a_soak_of_an_unfit_server_ends_with_an_error_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = write_archive(tmp_path / "file.mar", modelName="mine", modelVersion="1.0")
    unfit = fake_server(lambda path, body: reply(b"{}", status=404))
    monkeypatch.setattr(request_mix, "hostile_requests", lambda model: [])
    monkeypatch.setattr(soak, "TorchServe", lambda *_, **__: nullcontext(unfit))
    assert soak.main(["--archive", str(mine), "--out", str(tmp_path / "soak.md")]) == 2
    assert "predictions at /predictions/mine with 404, expected 200" in capsys.readouterr().err
    assert soak.main(["--archive", str(write_archive(tmp_path / "empty.mar")), "--out", str(tmp_path / "soak.md")]) == 2
    assert "empty.mar: not an archive with the name and version of a model" in capsys.readouterr().err
    assert not (tmp_path / "soak.md").exists()


def test_valid_requests_cover_every_route_and_hostile_ones_come_from_the_corpus() -> None:
    valid = list(request_mix.valid_requests("m", [picture(1)]))
    assert {request.path for request in valid} == {
        *("/predictions/m", "/explanations/m"),
        *("/v1/models/m:explain", "/v2/models/m/explain"),
    }
    assert len({(request.kind, request.body) for request in valid}) == len(valid)
    assert all({200} <= request.statuses <= {200, 422} for request in valid)
    hostile = list(request_mix.hostile_requests("m"))
    assert len(hostile) >= request_mix.HOSTILE
    assert len({request.statuses for request in hostile}) > 3
    assert not any({404, 500, 503} & request.statuses for request in hostile)


def test_a_killed_worker_loses_its_requests_and_later_answers_are_right(
    tmp_path: Path, model_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(FAULTS))
    monkeypatch.setattr(soak, "FAULTS", {name: FAULTS[name]})
    monkeypatch.setattr(soak, "ROOT", tmp_path)
    words = ["--archive", str(model_store / "leaves.mar"), "--out", str(tmp_path / "soak.md")]
    assert soak.main([*words, "--minutes", "0.05", "--clients", "3", "--faults", "--settle", "1"]) == 0
    figures = json.loads((tmp_path / "build" / "soak" / "soak.json").read_text())
    assert figures["outcomes"]["right"] > 10
    assert "wrong" not in figures["outcomes"]
    (fault,) = figures["faults"]
    assert fault["recovery"] > 0
    assert any(name.startswith("lost") for name in fault["got"])


def test_a_missing_archive_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        soak.main(["--archive", "nowhere.mar"])
    assert error.value.code == 2
    assert "nowhere.mar: no such archive" in capsys.readouterr().err

"""A soak: its requests, its faults, and a short one of a live server whose worker is killed."""

from __future__ import annotations

import json
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytest

from scripts import soak
from scripts.server import TorchServe
from scripts.soaking import asks, report
from scripts.soaking.faults import FAULTS, registered_again, second_version
from scripts.soaking.load import Load
from scripts.soaking.manifest import named, other_version, versioned
from scripts.soaking.report import Sample, Soak
from scripts.wire import Reply
from tests.test_explainer import picture
from tests.test_soak_comparing import reply, said
from tests.test_soak_load import ASK, served


def archived(path: Path, **model: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model, "archiverVersion": "0.12"}))
        file.writestr("net.pt", b"weights")
    return path


def test_name_and_version_are_those_of_the_manifest(tmp_path: Path) -> None:
    mine = archived(tmp_path / "file.mar", modelName="mine", modelVersion="2.0")
    assert named(mine) == ("mine", "2.0")
    assert other_version(mine) == "3.0"
    assert other_version(archived(tmp_path / "old.mar", modelName="mine", modelVersion="1.0")) == "2.0"
    other = versioned(mine, "3.0")
    assert other != mine
    assert named(other) == ("mine", "3.0")
    assert zipfile.ZipFile(other).read("net.pt") == b"weights"


def test_faults_call_the_model_by_its_manifest(tmp_path: Path) -> None:
    mine = archived(tmp_path / "a file.mar", modelName="mine", modelVersion="2.0")
    calls: list[str] = []

    class Manager:
        def request(self, method: str, path: str, api: str) -> Reply:
            calls.append(f"{method} {path}")
            return reply(b"{}")

    server = cast("TorchServe", Manager())
    registered_again(server, mine)
    second_version(server, mine)
    register = "&initial_workers=1&synchronous=true"
    assert calls == [
        "DELETE /models/mine/2.0",
        f"POST /models?url=a%20file.mar{register}",
        f"POST /models?url=a%20file-3.0.mar{register}",
        "PUT /models/mine/3.0/set-default",
    ]


def test_what_a_fault_raises_is_its_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(server: TorchServe, archive: Path) -> None:
        raise RuntimeError("POST /models: 500 |\n")

    monkeypatch.setattr(soak, "FAULTS", {"killed": failing})
    server = served(lambda path, body: said({"cat": 0.5}))
    with Load(server, [ASK], [ASK], {ASK: said({"cat": 0.5})}, 1) as load:
        fault = soak._befallen("killed", server, tmp_path, load, 0.01)
    assert fault.failed.startswith("RuntimeError: POST /models: 500")
    assert fault.recovery is not None
    found = Soak(load.results, [Sample(0, 1, (1,)), Sample(1, 1, (1,))], 1, [fault])
    assert next(report.complaints(found)).startswith("FAILED: killed: RuntimeError")
    assert "| killed | failed: RuntimeError: POST /models: 500 /; " in report.markdown({}, found, "soak.png")


def test_a_soak_of_an_unfit_server_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = archived(tmp_path / "file.mar", modelName="mine", modelVersion="1.0")
    unfit = served(lambda path, body: reply(b"{}", status=404))
    monkeypatch.setattr(asks, "hostile", lambda model: [])
    monkeypatch.setattr(soak, "TorchServe", lambda *_, **__: nullcontext(unfit))
    assert soak.main(["--archive", str(mine), "--out", str(tmp_path / "soak.md")]) == 2
    assert "predictions at /predictions/mine with 404 for 200" in capsys.readouterr().err
    assert soak.main(["--archive", str(archived(tmp_path / "empty.mar")), "--out", str(tmp_path / "soak.md")]) == 2
    assert "empty.mar: no archive with a model's name and version" in capsys.readouterr().err
    assert not (tmp_path / "soak.md").exists()


def test_the_requests_are_of_every_route_and_hostile_ones_come_from_the_corpus() -> None:
    good = list(asks.good("m", [picture(1)]))
    assert {ask.path for ask in good} == {
        *("/predictions/m", "/explanations/m"),
        *("/v1/models/m:explain", "/v2/models/m/explain"),
    }
    assert len({(ask.kind, ask.body) for ask in good}) == len(good)
    assert all({200} <= ask.statuses <= {200, 422} for ask in good)
    hostile = list(asks.hostile("m"))
    assert len(hostile) >= asks.HOSTILE
    assert len({ask.statuses for ask in hostile}) > 3
    assert not any({404, 500, 503} & ask.statuses for ask in hostile)


def test_a_killed_worker_loses_what_it_held_and_no_later_answer_is_wrong(
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


def test_an_archive_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        soak.main(["--archive", "nowhere.mar"])
    assert error.value.code == 2
    assert "nowhere.mar: no such archive" in capsys.readouterr().err

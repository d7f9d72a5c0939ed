"""A soak: its clients, faults and report, and a short one of a live server whose worker is killed."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from saliency.body import not_finite
from saliency.deadline import too_late
from saliency.errors import refused as refusal
from scripts import soak
from scripts.server import TorchServe
from scripts.soaking import asks, report
from scripts.soaking.faults import FAULTS, registered_again, second_version
from scripts.soaking.load import Load, Result, UnfitError, alone
from scripts.soaking.manifest import named, other_version, versioned
from scripts.soaking.plot import plot
from scripts.soaking.report import Fault, Sample, Soak
from scripts.wire import Reply
from tests.test_explainer import picture
from tests.test_soak_comparing import MAP, npy, reply, said


class Server:
    """Stands for a TorchServe that answers as a function says."""

    def __init__(self, answer: Callable[[str, bytes], Reply]) -> None:
        self.answer = answer

    def request(self, method: str, path: str, body: bytes, headers: object, timeout: float = 0) -> Reply:
        """Return the answer to a request."""
        return self.answer(path, body)


def served(answer: Callable[[str, bytes], Reply]) -> TorchServe:
    return cast("TorchServe", Server(answer))


ASK = asks.Ask("gradient", "/explanations/m", b"", {})


def asked(answer: Callable[[str, bytes], Reply]) -> list[Result]:
    """Return what came of a short load of a server, by clients that are told `{"cat": 0.5}` alone."""
    with Load(served(answer), [ASK], [ASK], {ASK: said({"cat": 0.5})}, 2) as load:
        deadline = time.monotonic() + 10
        while len(load.results) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
    return load.results


@pytest.mark.parametrize("body", [b'{"cat": 0.', b"", b"\xff\xfe"])
def test_clients_outlive_answers_that_cannot_be_read_and_count_them_as_wrong(body: bytes) -> None:
    results = asked(lambda path, _: reply(body))
    assert len(results) >= 20
    assert all(r.wrong.startswith("cannot be read: ") and not r.lost for r in results)


def test_clients_outlive_whatever_a_reply_raises() -> None:
    def broken(path: str, body: bytes) -> Reply:
        raise ValueError("a chunk without a length")

    results = asked(broken)
    assert len(results) >= 20
    assert all("a chunk without a length" in r.wrong and not r.lost for r in results)


def refused(status: int, kind: str, message: str) -> Reply:
    return reply(json.dumps({"code": status, "type": kind, "message": message}).encode(), status=status)


@pytest.mark.parametrize(
    "answer",
    [
        refused(507, "InternalServerException", "Worker died."),
        refused(500, "InternalServerException", "Worker scaled down."),
        refused(503, "ServiceUnavailableException", 'Model "m" has no worker to serve inference request.'),
        refused(404, "ModelNotFoundException", "Model not found: m"),
        refused(404, "ModelVersionNotFoundException", "Model version: 1.0 does not exist for model: m"),
    ],
)
def test_what_torchserve_says_without_a_worker_is_lost(answer: Reply) -> None:
    assert all(r.lost for r in asked(lambda path, body: answer)[:20])


@pytest.mark.parametrize(
    "answer",
    [
        reply(json.dumps(refusal(MemoryError(), "the forward pass").body()).encode(), status=507),
        reply(json.dumps(refusal(OSError("x"), "the encoding").body()).encode(), status=500),
        reply(json.dumps(too_late().body()).encode(), status=500),
        reply(json.dumps(not_finite("the saliency").body()).encode(), status=500),
        refused(503, "InternalServerException", "Prediction failed"),
        refused(507, "InternalServerException", "Out of resources"),
        reply(b'{"explanations": [{"code": 500}]}', status=500),
        reply(b"", status=503),
        reply(b"[]", status=500),
    ],
)
def test_what_the_handler_says_is_wrong_and_never_lost(answer: Reply) -> None:
    results = asked(lambda path, body: answer)
    assert all(r.wrong and not r.lost for r in results)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_that_answers_wrong_alone_is_unfit(status: int) -> None:
    good = list(asks.good("m", [picture(1)]))
    with pytest.raises(UnfitError, match=f"predictions at /predictions/m with {status} for 200"):
        alone(served(lambda path, body: reply(b"{}", status=status)), good)


@pytest.mark.parametrize("answer", [reply(b""), reply(b'{"a": NaN}'), npy(MAP * np.nan), reply(b"x", "image/png")])
def test_a_server_whose_answers_alone_cannot_be_read_is_unfit(answer: Reply) -> None:
    with pytest.raises(UnfitError, match="gradient at /explanations/m with 200 and a body that is none: "):
        alone(served(lambda path, body: answer), [ASK])


def test_a_network_may_refuse_some_methods_and_not_most() -> None:
    good = list(asks.good("m", [picture(1)]))

    def without(*methods: bytes) -> TorchServe:
        return served(lambda path, body: reply(b"{}", status=422 if any(m in body for m in methods) else 200))

    found = alone(without(b"layer_cam", b"guided_backprop"), good)
    assert sorted({found[ask].status for ask in good}) == [200, 422]
    with pytest.raises(UnfitError, match="only 5 were answered with 200"):
        alone(without(*(b'name="method"',)), good)
    with pytest.raises(UnfitError, match="gradient at /explanations/m with 422 for 200"):
        alone(served(lambda path, body: reply(b"{}", status=422 if path == "/explanations/m" else 200)), good)


def test_a_hostile_request_has_a_status_of_its_own_alone() -> None:
    bad = asks.Ask("hostile", "/explanations/m", b"", {}, frozenset({400, 415}))
    answers = [reply(b"{}", status=status) for status in (400, 415)]
    assert all(alone(served(lambda path, body, a=a: a), [bad]) == {bad: a} for a in answers)  # type: ignore[misc]
    with pytest.raises(UnfitError, match="hostile at /explanations/m with 200 for 400, 415"):
        alone(served(lambda path, body: reply(b"{}")), [bad])


def test_no_answer_alone_is_unfit() -> None:
    def silent(path: str, body: bytes) -> Reply:
        raise ConnectionResetError("peer")

    with pytest.raises(UnfitError, match="gradient at /explanations/m got no answer"):
        alone(served(silent), [ASK])


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


@pytest.mark.parametrize(
    ("memory", "expected"), [(lambda t: 100, 0.0), (lambda t: 100 + t, 80 / 120), (lambda t: 200 if t < 20 else 100, 0)]
)
def test_growth_is_that_of_a_line_after_the_warm_up(memory: Callable[[int], float], expected: float) -> None:
    samples = [Sample(float(t), int(memory(t)), (1,)) for t in range(101)]
    samples.append(Sample(101.0, 9_999, (2,)))  # after the load alone, at the faults
    assert report.growth(Soak([], samples, ended=100.0)) == pytest.approx(expected, abs=1e-6)


def test_a_report_tells_right_from_wrong_from_lost(tmp_path: Path) -> None:
    results = [Result("gradient", t, 0.01 * t, 200) for t in range(1, 101)]
    results += [Result("hostile", 5, 0.001, 400), Result("gradient", 6, 1, 200, "another map")]
    results += [Result("gradient", 7, 1, 503, "503", lost=True), Result("gradient", 8, 1, None, "OSError", lost=True)]
    counted = report.outcomes(results)
    assert counted == {"right": 101, "wrong": 1, "lost (503)": 1, "lost (OSError)": 1}
    spread = report.latencies(results[:100])["gradient"]
    assert list(spread.values()) == pytest.approx([100, 505, 901, 990.1, 1000])
    samples = [Sample(0, 100_000_000, (1,)), Sample(50, 100_000_000, (1,)), Sample(100, 120_000_000, (1, 2))]
    told = [Fault("worker killed", 101, got={"right": 3}, slowest=2.4, recovery=2.5), Fault("full", skipped="no disk")]
    soak = Soak([*results, Result("gradient", 101, 1, 200)], samples, 101, told)
    page = report.markdown({"minutes": 1}, soak, "soak.png")
    assert "104 requests, 1 a second: 1 wrong, 101 right, 1 lost (OSError), 1 lost (503)" in page
    assert "100 MB at first, 120 MB at last, 120 MB at most" in page
    assert "| worker killed | 3 right | 2.4 | 2.5 | 0 |" in page
    assert "| full | skipped: no disk | | | |" in page
    plot(soak, tmp_path / "soak.png")
    assert Image.open(tmp_path / "soak.png").width > 500


def test_recovery_is_the_first_right_answer_to_what_was_asked_after_the_last_loss() -> None:
    answered = [Result("gradient", 9.5, 4, 200), Result("hostile", 12.5, 0.1, 400), Result("gradient", 13, 0.5, 200)]
    lost = [Result("gradient", 9.9, 30, None, "TimeoutError", lost=True), Result("xrai", 12, 0, 507, "", lost=True)]
    late = [Result("gradient", 20, 0.5, 200, "another map")]
    found = report.fault("killed", 10, [*answered, *lost, *late])
    assert found.recovery == 3.5
    assert found.slowest == 4
    assert found.got == {"right": 3, "lost (TimeoutError)": 1, "lost (507)": 1}
    assert found.wrong == 1
    assert report.fault("killed", 10, lost).recovery is None


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

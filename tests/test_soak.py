"""What a soak tells right from wrong by, and a short one of a live server whose worker is killed."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import soak
from scripts.soaking import asks, report
from scripts.soaking.comparing import faults
from scripts.soaking.faults import FAULTS
from scripts.soaking.load import Result
from scripts.soaking.plot import plot
from scripts.soaking.report import Fault, Sample, Soak
from scripts.wire import Reply
from tests.test_explainer import picture


def reply(body: bytes, content_type: str = "application/json", status: int = 200) -> Reply:
    headers = Message()
    headers["Content-Type"] = content_type
    return Reply(status, headers, body)


def said(value: object) -> Reply:
    return reply(json.dumps(value).encode())


def npy(values: np.ndarray) -> Reply:
    file = io.BytesIO()
    np.save(file, values)
    return reply(file.getvalue(), "application/x-npy")


def png(level: int, size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


def text(level: int) -> str:
    return base64.b64encode(png(level)).decode()


MAP = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 8, 8)
SAME: list[tuple[Reply, Reply]] = [
    (said({"cat": 0.5, "dog": 0.25}), said({"cat": 0.50001, "dog": 0.25})),
    (said({"model": {"version": "1.0"}}), said({"model": {"version": "2.0"}})),
    (said({"saliency": {"data": text(100)}}), said({"saliency": {"data": text(102)}})),
    (said({"data": [0, 1.5, -2e-7]}), said({"data": [1e-7, 1.5, 0]})),
    (said({"data": ['{"score": 1.5}']}), said({"data": ['{"score": 1.50001}']})),
    (npy(MAP), npy(MAP + np.float32(2e-5))),
    (reply(png(7), "image/png"), reply(png(9), "image/png")),
]
OTHER: list[tuple[Reply, Reply]] = [
    (said({"cat": 0.5, "dog": 0.25}), said({"cat": 0.25, "dog": 0.5})),
    (said({"cat": 0.5}), said({"dog": 0.5})),
    (said([1, 2]), said([1, 2, 3])),
    (said({"index": 1}), said({"index": 2})),
    (said({"ok": True}), said({"ok": False})),
    (said({"saliency": {"data": text(100)}}), said({"saliency": {"data": text(120)}})),
    (said({"data": [0, 1.5]}), said({"data": [0.5, 1.5]})),
    (said({"data": ['{"score": 1.5}']}), said({"data": ['{"score": 2.5}']})),
    (said({"label": "cat"}), said({"label": "dog"})),
    (npy(MAP), npy(MAP + np.float32(1e-3))),
    (npy(MAP), npy(MAP[..., :4])),
    (reply(png(7), "image/png"), reply(png(90), "image/png")),
    (reply(png(7), "image/png"), reply(png(7, (5, 5)), "image/png")),
    (said({"code": 400}), reply(b'{"code": 500}', status=500)),
    (said({}), npy(MAP)),
]


@pytest.mark.parametrize("pair", SAME)
def test_rounding_is_not_wrong(pair: tuple[Reply, Reply]) -> None:
    assert faults(*pair) == []


@pytest.mark.parametrize("pair", OTHER)
def test_another_answer_is_wrong(pair: tuple[Reply, Reply]) -> None:
    assert len(faults(*pair)) >= 1


def test_the_requests_are_of_every_route_and_hostile_ones_come_from_the_corpus() -> None:
    good = list(asks.good("m", [picture(1)]))
    assert {ask.path for ask in good} == {
        *("/predictions/m", "/explanations/m"),
        *("/v1/models/m:explain", "/v2/models/m/explain"),
    }
    assert len({(ask.kind, ask.body) for ask in good}) == len(good)
    assert len(list(asks.hostile("m"))) >= asks.HOSTILE


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

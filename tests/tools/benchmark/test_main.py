"""The benchmark's command line: wrong arguments, errors while measuring, and a small real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tools.benchmark import measurements as named
from tools.benchmark.__main__ import main
from tools.benchmark.sections import DEFAULT_SECTIONS, SECTIONS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "resnet50,resnet51"], "there is no network 'resnet51'"),
        (["--methods", "gradcam"], "grad_cam"),
        (["--sections", "methods", "--methods", "occlusions"], "there is no method 'occlusions': occlusion"),
        (["--sections", "captum", "--methods", "occlusion"], "captum and memory have no method 'occlusion'"),
        (["--sections", "speed"], "there is no section 'speed'"),
        (["--device", "abacus"], "there is no device 'abacus'"),
        (["--picture", "none.jpg"], "there is no picture 'none.jpg'"),
        (["--rounds", "1"], "at least 2 rounds"),
        (["--long-rounds", "many"], "invalid"),
        (["--batch-sizes", "0,4"], "a batch size must be positive, not 0"),
    ],
)
def test_a_wrong_argument_gives_exit_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_cuda_device_gives_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--device", "cuda"])
    assert error.value.code == 2
    assert "there is no device 'cuda' here" in capsys.readouterr().err


def test_a_missing_library_gives_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.benchmark.arguments.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as error:
        main(["--sections", "captum", "--methods", "gradient"])
    assert error.value.code == 2
    assert "Captum is not installed" in capsys.readouterr().err


def test_the_section_methods_runs_only_if_it_is_named() -> None:
    assert "methods" in SECTIONS
    assert "methods" not in DEFAULT_SECTIONS


def test_figures_measured_before_an_error_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(plan: object, bar: object) -> object:
        yield named.Figure("latency", "resnet50", named.EXPLANATION, "ratio", (1.0, 1.2))
        raise RuntimeError("the server has stopped")

    monkeypatch.setattr("tools.benchmark.__main__.measure", measure)
    assert main(["--json", str(tmp_path / "found.json")]) == 1
    assert "the server has stopped" in capsys.readouterr().err
    (figure,) = json.loads((tmp_path / "found.json").read_text())["figures"]
    assert figure["reached"] is False


@pytest.mark.server
def test_a_small_run_measures_a_real_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.benchmark.networks.WEIGHTS", tmp_path)  # an empty folder, so that weights are random
    arguments = ["--networks", "squeezenet1_1", "--sections", "latency", "--batch-sizes", "1", "--rounds", "2"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert len(figures) == len(report["figures"])
    assert figures[named.EXPLANATION]["bound"] == "≤ 1.2"
    assert len(figures[named.TARGETS]["values"]) == 2
    assert 1000 < figures[named.ANSWER]["median"] < figures["default handler's answer, explanation"]["median"]
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
    assert capsys.readouterr().out.strip() == (tmp_path / "benchmark.md").read_text().strip()

"""The benchmark's command line: what is not there is refused with 2, and a small run writes what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scripts.bench import figures as named
from scripts.bench.sections import SECTIONS, USUAL
from scripts.benchmark import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--networks", "resnet50,resnet51"], "there is no network 'resnet51'"),
        (["--methods", "gradcam"], "grad_cam"),
        (["--sections", "methods", "--methods", "occlusions"], "there is no method 'occlusions': occlusion"),
        (["--sections", "captum", "--methods", "occlusion"], "captum and memory have no method 'occlusion'"),
        (["--sections", "speed"], "there is no section 'speed'"),
        (["--device", "abacus"], "there is no device 'abacus'"),
        (["--picture", "none.jpg"], "there is no picture 'none.jpg'"),
        (["--rounds", "1"], "a spread is printed"),
        (["--long-rounds", "many"], "invalid"),
        (["--batch-sizes", "0,4"], "a batch of 0"),
    ],
)
def test_what_is_not_there_exits_with_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(words)
    assert refusal.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_cuda_device_that_is_not_there_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["--device", "cuda"])
    assert refusal.value.code == 2
    assert "there is no device 'cuda' here" in capsys.readouterr().err


def test_a_library_that_is_not_installed_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.bench.arguments.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as refusal:
        main(["--sections", "captum", "--methods", "gradient"])
    assert refusal.value.code == 2
    assert "Captum is not installed" in capsys.readouterr().err


def test_all_methods_are_measured_where_the_section_is_named() -> None:
    assert "methods" in SECTIONS
    assert "methods" not in USUAL


def test_what_was_measured_before_a_failure_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(plan: object, say: object) -> object:
        yield named.Figure("latency", "resnet50", named.EXPLANATION, "ratio", (1.0, 1.2))
        raise RuntimeError("the server is gone")

    monkeypatch.setattr("scripts.benchmark.measure", measure)
    assert main(["--json", str(tmp_path / "found.json")]) == 1
    assert "the server is gone" in capsys.readouterr().err
    (figure,) = json.loads((tmp_path / "found.json").read_text())["figures"]
    assert figure["reached"] is False


@pytest.mark.server
def test_a_small_run_measures_a_real_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.bench.networks.WEIGHTS", tmp_path)  # random weights, wherever the test runs
    words = ["--networks", "squeezenet1_1", "--sections", "latency", "--batch-sizes", "1", "--rounds", "2"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    said = json.loads((tmp_path / "benchmark.json").read_text())
    found = {figure["name"]: figure for figure in said["figures"]}
    assert len(found) == len(said["figures"])
    assert found[named.EXPLANATION]["bound"] == "≤ 1.2"
    assert len(found[named.TARGETS]["values"]) == 2
    assert 1000 < found[named.ANSWER]["median"] < found["default handler's answer, explanation"]["median"]
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
    assert capsys.readouterr().out.strip() == (tmp_path / "benchmark.md").read_text().strip()

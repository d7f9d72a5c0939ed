"""The zoo's networks, its trials in processes, and a real run of the sample."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.tools.zoo.test_results import result
from tools.zoo.__main__ import main
from tools.zoo.networks import FAMILIES, SAMPLE, every_network, input_arguments
from tools.zoo.outcomes import BAD, GOOD, METHODS, REFUSED, Cell
from tools.zoo.process_pool import run_all
from tools.zoo.results import Result, read_results
from tools.zoo.table import counts
from tools.zoo.trial import run_trial
from torchserve_saliency.model.architectures import torchvision_names

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("status", "output", "cell"),
    [
        (1, "the output is constant", Cell(REFUSED, "not archived: the output is constant")),
        (
            1,
            "the self-check broke off: it was killed",
            Cell(BAD, "archive: the self-check broke off: it was killed"),
        ),
        (2, "no such flag", Cell(BAD, "archive: no such flag")),
    ],
)
def test_a_network_without_archive_is_refused_only_if_the_network_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, status: int, output: str, cell: Cell
) -> None:
    monkeypatch.setattr("tools.zoo.trial.write_archive", lambda network, folder: (status, output))
    assert run_trial("a").cells == dict.fromkeys(METHODS, cell)


def _trial(network: str) -> Result:
    if network == "dies":
        os._exit(7)
    if network == "hangs":
        Path(tempfile.mkdtemp(), "archive").write_bytes(bytes(9))
        subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=False)
    return result(network)


def test_a_crash_or_a_timeout_does_not_affect_other_networks_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    results = {each.network: each for each in run_all(["hangs", "dies", "a", "b"], _trial, jobs=2, limit=5)}
    assert time.monotonic() - began < 50
    assert results["dies"].cells["gradient"] == Cell(BAD, "its process ended with exit code 7")
    assert results["hangs"].cells["gradient"] == Cell(BAD, "not finished after 5 s")
    assert [results[name].cells["gradient"].outcome for name in "ab"] == [GOOD, GOOD]
    assert list(tmp_path.iterdir()) == []


def test_the_zoo_has_all_of_torchvision_and_many_families_of_timm() -> None:
    networks = every_network()
    assert len(networks) == len(set(networks))
    assert {name for name in torchvision_names() if not name.startswith("quantized_")} <= set(networks)
    assert len(FAMILIES) >= 24
    assert set(SAMPLE) <= set(networks)
    assert len(SAMPLE) == 10
    assert input_arguments("vit_h_14") == ["--input-size", "126"]
    assert input_arguments("resnet18") == []


def test_timm_has_every_network_of_the_list() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    assert [name for name in FAMILIES if not timm.is_model(name)] == []


def test_every_cell_of_the_sample_is_good_or_refused_for_a_true_reason(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed, and six of the ten networks are its own")
    out, results_file = tmp_path / "zoo.md", tmp_path / "results.jsonl"
    arguments = ["--sample", "--jobs", "2", "--out", str(out), "--results", str(results_file)]
    ran = subprocess.run(
        [sys.executable, "-m", "tools.zoo", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = read_results(results_file)
    assert sorted(found) == sorted(SAMPLE), ran.stderr
    assert counts(found.values())[BAD] == 0, ran.stderr
    assert ran.returncode == 0
    refused = {name for name in SAMPLE if found[name].cells["guided_backprop"].outcome == REFUSED}
    assert refused == {name for name in SAMPLE if name.startswith("timm:")}
    others = [cell for each in found.values() for method, cell in each.cells.items() if method != "guided_backprop"]
    assert {cell.outcome for cell in others} == {GOOD}
    assert out.read_text(encoding="utf-8") == ran.stdout.rstrip("\n") + "\n"


@pytest.mark.parametrize("arguments", [["--networks", "a,,b"], ["--jobs", "0"], ["--limit", "-1"], ["--sampel"]])
def test_a_wrong_argument_gives_exit_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2

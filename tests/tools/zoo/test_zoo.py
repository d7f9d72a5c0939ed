"""The zoo: outcomes, continued runs, the page, and a real run of the sample."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.zoo.__main__ import main
from tools.zoo.networks import FAMILIES, SAMPLE, every_network, input_arguments
from tools.zoo.outcomes import BAD, GOOD, METHODS, REFUSED, Cell, cell_of, check_refusal
from tools.zoo.process_pool import run_all
from tools.zoo.results import Result, add_result, failed, not_archived, read_results, remaining
from tools.zoo.table import counts, markdown
from tools.zoo.trial import run_trial
from torchserve_saliency.model.architectures import torchvision_names

ROOT = Path(__file__).resolve().parents[3]


def npy(values: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def error(message: str) -> bytes:
    return json.dumps({"code": 0, "type": "X", "message": message}).encode()


RAMP = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason"),
    [
        (200, npy(RAMP), GOOD, ""),
        (200, npy(RAMP * np.float32("nan")), BAD, "not finite"),
        (200, npy(RAMP + np.float32("inf")), BAD, "not finite"),
        (200, npy(RAMP * 0), BAD, "constant: 0 everywhere"),
        (200, npy(RAMP * 0 + 3), BAD, "constant: 3 everywhere"),
        (200, npy(np.concatenate([RAMP * 0, RAMP])), GOOD, ""),
        (422, error("needs ReLUs"), REFUSED, "needs ReLUs"),
        (500, error("a defect"), BAD, "500: a defect; KeyError: 'x'"),
        (400, error("no such option"), BAD, "400: no such option; KeyError: 'x'"),
        (507, b"<html>", BAD, "507: b'<html>'; KeyError: 'x'"),
    ],
)
def test_a_response_gives_a_cell(status: int, body: bytes, outcome: str, reason: str) -> None:
    assert cell_of(status, body, ["KeyError: 'x'"]) == Cell(outcome, reason)


def test_a_refusal_with_a_false_reason_is_bad() -> None:
    refused = Cell(REFUSED, "'guided_backprop' needs ReLUs, and this network has none")
    assert check_refusal(refused, [], ["layer4"]) == refused
    assert check_refusal(refused, ["relu"], []).outcome == BAD
    flat = Cell(REFUSED, "'grad_cam' needs a layer with spatial extent, and this network has none")
    assert check_refusal(flat, ["relu"], []) == flat
    assert "the network has 'layer4'" in check_refusal(flat, [], ["layer4"]).reason
    assert check_refusal(Cell(GOOD), ["relu"], ["layer4"]) == Cell(GOOD)


def result(network: str, **cells: Cell) -> Result:
    all_cells = dict.fromkeys(METHODS, Cell(GOOD)) | cells
    return Result(
        network, all_cells, {"processor": 2.6}, 1_250_000, (224, 224), "layer4", (512, 7, 7), 0, {"torch": "2.4"}
    )


def test_results_are_read_back_and_an_incomplete_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "made" / "results.jsonl"
    assert read_results(path) == {}
    first, second = result("a", grad_cam=Cell(BAD, "constant")), not_archived("b", "no gradient")
    add_result(path, first)
    add_result(path, second)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-9], encoding="utf-8")
    results = read_results(path)
    assert list(results) == ["a"]
    assert results["a"].cells == first.cells
    assert (results["a"].layer, list(results["a"].grid)) == ("layer4", [512, 7, 7])
    assert remaining(["a", "b", "c"], results) == ["b", "c"]
    add_result(path, second)
    assert read_results(path)["b"].cells["gradient"] == Cell(REFUSED, "not archived: no gradient")


def test_the_last_result_of_a_network_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    add_result(path, failed("a", "not finished after 9 s"))
    add_result(path, result("a"))
    assert counts(read_results(path).values()) == {GOOD: len(METHODS)}


def test_the_page_has_counts_numbered_reasons_and_missing_networks() -> None:
    refused = Cell(REFUSED, "needs ReLUs")
    results = [
        result("a"),
        result("b", guided_backprop=refused),
        result("c", guided_backprop=refused, grad_cam=Cell(BAD, "|")),
    ]
    page = markdown(results, ["c", "a", "b", "d"])
    lines = [re.split(r"(?<!\\)\|", line) for line in page.splitlines() if line.startswith("|")]
    rows = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line[1:-1]] for line in lines)}
    assert rows["all 3 networks"] == ["9", "2", "1"]
    assert rows["guided_backprop"] == ["1", "2", "0"]
    assert rows["1"] == ["refused", "needs ReLUs", "2"]
    assert rows["2"] == ["bad", r"\|", "1"]
    assert rows["`c`"] == [
        *("1.2", "224 × 224", "`layer4`", "512 × 7 × 7", "good", "refused (1)", "bad (2)", "good", "3")
    ]
    assert [name for name in rows if name.startswith("`")] == ["`c`", "`a`", "`b`"]
    assert "Not tried: d." in page
    assert "Made with torch 2.4." in page
    assert "Not tried" not in markdown(results, ["a", "b", "c"])


def test_a_page_of_existing_results_tries_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.jsonl"
    add_result(path, result("a"))
    arguments = ["--networks", "a,b", "--results", str(path), "--out", str(tmp_path / "zoo.md"), "--page"]
    assert main(arguments) == 0
    assert "Not tried: b." in (tmp_path / "zoo.md").read_text(encoding="utf-8")
    assert "| `a` " in capsys.readouterr().out
    add_result(path, failed("b", "not finite"))
    assert main(arguments) == 1


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

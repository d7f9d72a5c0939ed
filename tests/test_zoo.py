"""The zoo: what a cell says, how a run goes on, the page that it makes, and a sample of it that is really run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency.networks import torchvision_names
from scripts.matrix.cells import BAD, GOOD, METHODS, REFUSED, Cell, doubted, judged
from scripts.matrix.networks import FAMILIES, SAMPLE, every_network, input_words
from scripts.matrix.processes import run_all
from scripts.matrix.results import Result, add_result, failed, not_archived, read_results, remaining
from scripts.matrix.table import counts, markdown
from scripts.matrix.trial import tried
from scripts.zoo import main

ROOT = Path(__file__).resolve().parents[1]


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
def test_an_answer_makes_a_cell(status: int, body: bytes, outcome: str, reason: str) -> None:
    assert judged(status, body, ["KeyError: 'x'"]) == Cell(outcome, reason)


def test_a_refusal_that_is_not_true_is_bad() -> None:
    refused = Cell(REFUSED, "'guided_backprop' needs ReLUs, and this network has none")
    assert doubted(refused, [], ["layer4"]) == refused
    assert doubted(refused, ["relu"], []).outcome == BAD
    flat = Cell(REFUSED, "'grad_cam' needs a layer with spatial extent, and this network has none")
    assert doubted(flat, ["relu"], []) == flat
    assert "'layer4' is there" in doubted(flat, [], ["layer4"]).reason
    assert doubted(Cell(GOOD), ["relu"], ["layer4"]) == Cell(GOOD)


def result(network: str, **cells: Cell) -> Result:
    everything = dict.fromkeys(METHODS, Cell(GOOD)) | cells
    return Result(
        network, everything, {"processor": 2.6}, 1_250_000, (224, 224), "layer4", (512, 7, 7), 0, {"torch": "2.4"}
    )


def test_results_are_read_as_they_were_written_and_a_cut_line_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "made" / "results.jsonl"
    assert read_results(path) == {}
    first, second = result("a", grad_cam=Cell(BAD, "constant")), not_archived("b", "no gradient")
    add_result(path, first)
    add_result(path, second)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-9], encoding="utf-8")
    found = read_results(path)
    assert list(found) == ["a"]
    assert found["a"].cells == first.cells
    assert (found["a"].layer, list(found["a"].grid)) == ("layer4", [512, 7, 7])
    assert remaining(["a", "b", "c"], found) == ["b", "c"]
    add_result(path, second)
    assert read_results(path)["b"].cells["gradient"] == Cell(REFUSED, "not archived: no gradient")


def test_the_last_result_of_a_network_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    add_result(path, failed("a", "not done after 9 s"))
    add_result(path, result("a"))
    assert counts(read_results(path).values()) == {GOOD: len(METHODS)}


def test_the_page_counts_cells_numbers_reasons_and_names_what_was_not_tried() -> None:
    none = Cell(REFUSED, "needs ReLUs")
    results = [
        result("a"),
        result("b", guided_backprop=none),
        result("c", guided_backprop=none, grad_cam=Cell(BAD, "|")),
    ]
    page = markdown(results, ["c", "a", "b", "d"])
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| ")}
    assert rows["| all 3 networks"] == "| all 3 networks | 9 | 2 | 1 |"
    assert rows["| guided_backprop"] == "| guided_backprop | 1 | 2 | 0 |"
    assert rows["| 1"] == "| 1 | refused | needs ReLUs | 2 |"
    assert rows["| 2"] == "| 2 | bad | \\| | 1 |"
    assert rows["| `c`"] == (
        "| `c` | 1.2 | 224 × 224 | `layer4` | 512 × 7 × 7 | good | refused (1) | bad (2) | good | 3 |"
    )
    assert page.index("| `c` |") < page.index("| `a` |") < page.index("| `b` |")
    assert "Not tried: d." in page
    assert "Made with torch 2.4." in page
    assert "Not tried" not in markdown(results, ["a", "b", "c"])


def test_a_page_of_what_is_there_tries_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.jsonl"
    add_result(path, result("a"))
    words = ["--networks", "a,b", "--results", str(path), "--out", str(tmp_path / "zoo.md"), "--page"]
    assert main(words) == 0
    assert "Not tried: b." in (tmp_path / "zoo.md").read_text(encoding="utf-8")
    assert "| `a` |" in capsys.readouterr().out
    add_result(path, failed("b", "not finite"))
    assert main(words) == 1


@pytest.mark.parametrize(
    ("status", "words", "cell"),
    [
        (1, "the output is constant", Cell(REFUSED, "not archived: the output is constant")),
        (
            1,
            "the self-check broke off: it was killed",
            Cell(BAD, "archive.py: the self-check broke off: it was killed"),
        ),
        (2, "no such flag", Cell(BAD, "archive.py: no such flag")),
    ],
)
def test_a_network_that_is_not_archived_is_refused_only_where_the_network_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, status: int, words: str, cell: Cell
) -> None:
    monkeypatch.setattr("scripts.matrix.trial.archived", lambda network, folder: (status, words))
    assert tried("a").cells == dict.fromkeys(METHODS, cell)


def _trial(network: str) -> Result:
    if network == "dies":
        os._exit(7)
    if network == "hangs":
        Path(tempfile.mkdtemp(), "archive").write_bytes(bytes(9))
        subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=False)
    return result(network)


def test_a_network_that_dies_or_hangs_takes_nobody_with_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    found = {each.network: each for each in run_all(["hangs", "dies", "a", "b"], _trial, jobs=2, limit=5)}
    assert time.monotonic() - began < 50
    assert found["dies"].cells["gradient"] == Cell(BAD, "its process ended with 7")
    assert found["hangs"].cells["gradient"] == Cell(BAD, "not done after 5 s")
    assert [found[name].cells["gradient"].outcome for name in "ab"] == [GOOD, GOOD]
    assert list(tmp_path.iterdir()) == []


def test_the_zoo_is_all_of_torchvision_and_a_network_of_each_of_many_families() -> None:
    networks = every_network()
    assert len(networks) == len(set(networks))
    assert {name for name in torchvision_names() if not name.startswith("quantized_")} <= set(networks)
    assert len(FAMILIES) >= 24
    assert set(SAMPLE) <= set(networks)
    assert len(SAMPLE) == 10
    assert input_words("vit_h_14") == ["--input-size", "126"]
    assert input_words("resnet18") == []


def test_every_family_is_one_that_timm_builds() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    assert [name for name in FAMILIES if not timm.is_model(name)] == []


def test_every_cell_of_the_sample_is_good_or_refused_for_a_reason_that_is_true(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed, and six of the ten networks are its own")
    out, results = tmp_path / "zoo.md", tmp_path / "results.jsonl"
    words = ["--sample", "--jobs", "2", "--out", str(out), "--results", str(results)]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "zoo.py"), *words], capture_output=True, text=True, check=False
    )
    found = read_results(results)
    assert sorted(found) == sorted(SAMPLE), ran.stderr
    assert counts(found.values())[BAD] == 0, ran.stderr
    assert ran.returncode == 0
    refused = {name for name in SAMPLE if found[name].cells["guided_backprop"].outcome == REFUSED}
    assert refused == {name for name in SAMPLE if name.startswith("timm:")}
    others = [cell for each in found.values() for method, cell in each.cells.items() if method != "guided_backprop"]
    assert {cell.outcome for cell in others} == {GOOD}
    assert out.read_text(encoding="utf-8") == ran.stdout.rstrip("\n") + "\n"


@pytest.mark.parametrize("words", [["--networks", "a,,b"], ["--jobs", "0"], ["--limit", "-1"], ["--sampel"]])
def test_what_is_typed_wrong_is_exit_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2

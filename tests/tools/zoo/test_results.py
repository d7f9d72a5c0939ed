"""Results are written and read back, and the page shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.zoo.__main__ import main
from tools.zoo.outcomes import BAD, GOOD, METHODS, REFUSED, Cell
from tools.zoo.results import Result, add_result, failed, not_archived, read_results, remaining
from tools.zoo.table import counts, markdown


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

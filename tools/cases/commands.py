"""The commands as a new user tries them (F2, F6)."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

from PIL import Image

from tools import evaluation
from tools.cases.case import check
from tools.cases.inputs import archive_small, file_of, photograph
from tools.cases.serving import served
from tools.cases.workshop import Workshop
from tools.evaluation.__main__ import main as evaluate
from torchserve_saliency_cli import explain, serve
from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.leaves.embedded_archive import archive_leaves

TREE = {"rust/one.png": "rust", "rust/day 2/two.png": "rust", "scab/three.png": "scab", "black_rot/four.png": "scab"}


def run(command: object, *words: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, its output and its errors."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = command([str(word) for word in words])  # type: ignore[operator]
        except SystemExit as end:
            status = end.code
    return status if isinstance(status, int) else int(status is not None), output.getvalue(), errors.getvalue()


def folder_of_leaves(folder: Path) -> Path:
    """Write drawn leaves into folders that name classes: one of them in a wrong folder, and one broken file."""
    for seed, (place, disease) in enumerate(TREE.items(), 41):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(seed, [disease]).image.save(path)
    (folder / "scab" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    return folder


def command_on_folders(workshop: Workshop) -> str:
    """F2: a folder with subfolders is explained by a live server, with lines, a table and a sheet."""
    data = folder_of_leaves(workshop.folder / "data")
    lines, table, sheet = (workshop.folder / f"all.{suffix}" for suffix in ("jsonl", "csv", "png"))
    maps, wrong = workshop.folder / "maps", workshop.folder / "wrong.jsonl"
    archive = archive_leaves(workshop.folder, quiet=True)
    with served(workshop, archive, {}, authorize=True) as server:
        common = (data, "--model", "leaves", "--url", server.url, "--token", server.token(), "--out", maps)
        records = ("--json", lines, "--csv", table, "--sheet", sheet)
        status, output, errors = run(explain.main, *common, "--method", "grad_cam", *records)
        check(status == 1, f"exit status {status} although a picture is broken: {errors}")
        run(explain.main, *common, "--wrong-only", "--json", wrong)
    _check_lines(data, [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()])
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    check(len(rows) == len(TREE) + 1, f"{len(rows)} lines in the table")
    check(sum(row["correct"] == "True" for row in rows) == 3, f"{[row['correct'] for row in rows]}")
    check("right: 3 of 4" in output and "broken.jpg" in errors, f"printed: {output[-200:]} {errors[-200:]}")
    check(len(list(maps.rglob("*.png"))) == len(TREE), f"maps: {list(maps.rglob('*'))}")
    check(Image.open(sheet).height > 5 * 224, f"the sheet has {Image.open(sheet).size} pixels")
    left = [json.loads(line)["path"] for line in wrong.read_text(encoding="utf-8").splitlines()]
    expected = {str(data / "black_rot/four.png"), str(data / "scab/broken.jpg")}
    check(set(left) == expected, f"--wrong-only lists {left}")
    return "a line per picture with path, true class and answer or error; right: 3 of 4; a sheet; --wrong-only: 1"


def _check_lines(data: Path, lines: list[dict[str, object]]) -> None:
    """Raise AssertionError if the lines of JSON are not those of the folder of leaves."""
    by_path = {str(line["path"]): line for line in lines}
    check(len(by_path) == len(TREE) + 1, f"paths {sorted(by_path)}")
    for place, disease in TREE.items():
        line = by_path[str(data / place)]
        true = place.split("/")[0].replace("_", " ")
        check((line["true_class"], line["correct"]) == (true, true == disease), f"{place}: {str(line)[:200]}")
    error = by_path[str(data / "scab/broken.jpg")]["error"]
    check(isinstance(error, dict) and error["code"] == 415, f"the broken picture: {error}")


def commands_of_the_client(workshop: Workshop) -> str:
    """F6: methods of every kind are asked by the command, and the other commands do not fail silently."""
    archive = archive_small(workshop, "--format", "png").path
    picture = workshop.folder / "leaf.png"
    picture.write_bytes(file_of(photograph()))
    _check_evaluation(workshop, archive)
    with served(workshop, archive, {}, authorize=True) as server:
        common = ("--model", "net", "--url", server.url, "--key-file", server.folder / "key_file.json")
        for words in (
            (picture, "--method", "feature_maps", "--out", workshop.folder / "channels.png"),
            (
                "--method",
                "activation_maximization",
                "--target",
                "rust",
                "--steps",
                3,
                "--out",
                workshop.folder / "dream.png",
            ),
            (picture, "--out", workshop.folder / "map.png"),
        ):
            status, output, errors = run(explain.main, *words, *common)
            check(status == 0, f"{words[:3]}: {errors}")
            check("rust" in output and "logit" in output, f"{words[:3]} prints no table: {output}")
            check(Image.open(str(words[-1])).width >= 224, f"{words[-1]} is too small")
    status, output, _ = run(serve.main, "--help")
    check(status == 0 and "--model-store" in output and "starting" not in output, f"serve --help: {output}")
    return (
        "feature_maps and activation_maximization are drawn; a default format=png does not hide the table; --help helps"
    )


def _check_evaluation(workshop: Workshop, archive: Path) -> None:
    """Raise AssertionError if tools.evaluation does not read subfolders, or says nothing about a folder without any."""
    folder, empty = workshop.folder / "photos", workshop.folder / "empty"
    (empty / "sub").mkdir(parents=True)
    for number in range(2):
        path = folder / f"class {number}" / "one.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(file_of(photograph(seed=number)))
    flags = ("--methods", "gradient", "--mosaics", 0)
    status, output, errors = run(evaluate, archive, "--pictures", folder, *flags)
    check(status == 0 and "`gradient`" in output, f"{evaluation.__name__} on subfolders: {errors[-300:]}")
    status, _, errors = run(evaluate, archive, "--pictures", empty, *flags)
    check(
        status == 2 and "no pictures" in errors, f"{evaluation.__name__} on an empty folder: {status} {errors[-300:]}"
    )

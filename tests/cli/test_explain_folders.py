"""The command `explain` on folders, and on methods and archives with other answers, by the real handler."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.handler_server import HandlerServer, handler_server
from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency import Explainer
from torchserve_saliency.model.archive import Limits
from torchserve_saliency_cli import explain


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


@pytest.fixture
def server(explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HandlerServer]:
    monkeypatch.chdir(tmp_path)
    with handler_server(explainer) as running:
        yield running


def run(server: HandlerServer, *words: str) -> int:
    return explain.main([*words, "--model", "m", "--url", server.url])


def write(path: str, seed: int) -> Path:
    """Write a picture of noise, and return its path."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(picture(seed))
    return file


@pytest.fixture
def data(server: HandlerServer, explainer: Explainer) -> dict[str, str]:
    """Write a folder with the layout of ImageFolder, and return the predicted label of each picture.

    The folder `apple_pie` has one picture of that class, and one that the network takes for another.
    """
    predicted = {}
    label = explainer.explain(picture(0), render="none").predictions[0].label
    folders = {label.replace(" ", "_"): 0, "dog": 1, "cat/session 1": 2}
    for folder, seed in folders.items():
        path = write(f"data/{folder}/{seed}.png", seed)
        predicted[str(path)] = explainer.explain(path, render="none").predictions[0].label
    Path("data/dog/broken.jpg").write_bytes(b"\xff\xd8\xff")
    Path("data/dog/notes.txt").write_text("no picture")
    Path("data/dog/1.saliency.png").write_bytes(picture(9))
    Path("data/.hidden").mkdir()
    write("data/.hidden/x.png", 4)
    return predicted


def lines(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def test_f2_a_folder_is_walked_and_each_picture_has_a_line(
    server: HandlerServer, data: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--json", "all.jsonl", "--csv", "all.csv", "--sheet", "sheet.png", "--out", "maps", "--method", "grad_cam")
    assert run(server, "data", *words) == 1  # because of the broken picture
    found = {line["path"]: line for line in lines("all.jsonl")}
    assert set(found) == {*data, "data/dog/broken.jpg"}
    for path, label in data.items():
        true = Path(path).parts[1].replace("_", " ")
        assert (found[path]["true_class"], found[path]["correct"]) == (true, true == label)
        assert found[path]["predictions"][0]["label"] == label
        assert found[path]["map"] == f"maps/{Path(path).relative_to('data').with_suffix('')}.saliency.png"
        assert Path(found[path]["map"]).is_file()
    error = found["data/dog/broken.jpg"]
    assert (error["true_class"], error["correct"], error["error"]["code"]) == ("dog", None, 415)
    with Path("all.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert {path: row["predicted"] for path, row in rows.items() if row["status"] == "200"} == data
    assert (rows["data/dog/broken.jpg"]["status"], rows["data/dog/broken.jpg"]["type"]) == (
        "415",
        "TruncatedImageException",
    )
    printed = capsys.readouterr()
    right = sum(found[path]["correct"] for path in data)
    assert f"right: {right} of 3" in printed.out
    assert "broken.jpg: 415" in printed.err
    assert Image.open("sheet.png").height > 4 * 224


def test_f2_only_wrong_pictures_are_explained(
    server: HandlerServer, data: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(server, "data", "--wrong-only", "--json", "wrong.jsonl", "--out", "maps", "--sheet", "sheet.png")
    wrong = {path for path, label in data.items() if Path(path).parts[1].replace("_", " ") != label}
    assert 0 < len(wrong) < len(data)
    assert {line["path"] for line in lines("wrong.jsonl")} == {*wrong, "data/dog/broken.jpg"}
    assert len(list(Path("maps").rglob("*.png"))) == len(wrong)
    explained = [each for each in server.requests if each.fields.get("render") == b"overlay"]
    assert len(explained) == len(wrong)
    assert f"right: {len(data) - len(wrong)} of {len(data)}" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["data/x.png", "data/doog/x.png", "data/crane/x.png"])
def test_wrong_only_needs_folders_that_are_classes(
    server: HandlerServer, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, 1)
    assert run(server, "data", "--wrong-only") == 1
    error = capsys.readouterr().err
    assert "subfolders name the classes" in error
    assert ("did you mean 'dog'" in error) == ("doog" in place)
    assert ("2 classes are named 'crane'" in error) == ("crane" in place)


def test_a_folder_that_is_no_class_is_named_and_the_pictures_are_explained(
    server: HandlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write("photos/holiday/x.png", 1)
    assert run(server, "photos", "--json", "all.jsonl") == 0
    assert (lines("all.jsonl")[0]["true_class"], lines("all.jsonl")[0]["correct"]) == ("holiday", None)
    assert "the folder 'holiday' is no class of the model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["top3", "predicted", "cat;dog", "[1]", "above0.5"])
def test_a_folder_is_a_class_only_by_its_name(server: HandlerServer, name: str) -> None:
    write(f"data/{name}/x.png", 1)
    assert run(server, "data", "--json", "all.jsonl") == 0
    assert lines("all.jsonl")[0]["correct"] is None
    assert len(server.requests) == 1


def test_an_empty_folder_is_an_error_that_names_it(server: HandlerServer, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty/sub").mkdir(parents=True)
    assert run(server, "empty") == 1
    assert "no pictures in the folder empty" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["feature_maps", "Feature-Maps", "grad_cam", None])
@pytest.mark.parametrize("default", ["feature_maps", "gradient"])
def test_f6_every_method_has_a_picture(
    server: HandlerServer, method: str | None, default: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("x.png", 1)
    server.handler.explainer = Explainer(classifier(made(Modules), method=default))
    assert run(server, "x.png", *(("--method", method) if method else ()), "--out", "map.png") == 0
    assert "apple pie" in capsys.readouterr().out
    assert Image.open("map.png").width >= SIZE


def test_f6_a_method_that_makes_a_picture_is_asked_without_one(
    server: HandlerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--method", "activation_maximization", "--target", "dog", "--steps", "3")
    assert run(server, *words, "--out", "dream.png") == 0
    assert run(server, *words) == 0
    assert Path("dream.png").is_file()
    assert Path("explanation.saliency.png").is_file()
    assert "explained: dog, by activation_maximization" in capsys.readouterr().out
    assert all("data" not in each.fields for each in server.requests)


def test_f6_a_method_that_takes_a_picture_needs_one(server: HandlerServer) -> None:
    with pytest.raises(SystemExit) as exited:
        run(server, "--method", "grad_cam")
    assert exited.value.code == 2


@pytest.mark.parametrize("defaults", [{"format": "png"}, {"format": "npy"}, {"render": "none"}, {"format": "jpeg"}])
def test_f6_the_archives_defaults_silence_neither_table_nor_picture(
    server: HandlerServer, defaults: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write("x.png", 1)
    server.handler.explainer = Explainer(classifier(made(Modules), **defaults))
    assert run(server, "x.png", "--json", "x.jsonl", "--out", "map.png") == 0
    assert "apple pie" in capsys.readouterr().out
    assert lines("x.jsonl")[0]["explanations"][0]["saliency"]["data"]
    assert Image.open("map.png").width >= 224


@pytest.mark.parametrize(
    ("words", "name", "kind"),
    [
        (("--format", "jpeg"), "x.saliency.jpg", "JPEG"),
        (("--format", "image/webp"), "x.saliency.webp", "WEBP"),
        (("--format", "png"), "x.saliency.png", "PNG"),
        (("--out", "y.jpg"), "y.jpg", "JPEG"),
        (("--out", "y", "--format", "webp"), "y.webp", "WEBP"),
    ],
)
def test_d5_a_picture_is_saved_in_the_format_that_is_asked_for(
    server: HandlerServer, words: tuple[str, ...], name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("x.png", 1)
    assert run(server, "x.png", *words) == 0
    assert Image.open(name).format == kind
    assert "apple pie" in capsys.readouterr().out


def test_an_array_is_exact(server: HandlerServer, explainer: Explainer) -> None:
    path = write("x.png", 1)
    assert run(server, "x.png", "--out", "y.npy", "--target", "top2", "--method", "grad_cam") == 0
    np.testing.assert_array_equal(np.load("y.npy"), explainer.explain(path, target="top2", method="grad_cam").array)


def test_d5_an_overlay_that_is_too_large_for_the_answer_is_drawn_here(server: HandlerServer) -> None:
    Path("x.png").write_bytes(picture(1, (400, 300)))
    server.handler.explainer = Explainer(classifier(made(Modules), limits=Limits(max_response_bytes=100_000)))
    assert run(server, "x.png", "--space", "original", "--out", "map.jpg", "--method", "grad_cam") == 0
    assert [each.fields["render"] for each in server.requests] == [b"overlay", b"heatmap"]
    assert Image.open("map.jpg").height >= 400


def test_a_heatmap_is_drawn_as_one(server: HandlerServer, explainer: Explainer) -> None:
    path = write("x.png", 1)
    assert run(server, "x.png", "--render", "heatmap", "--caption", "false", "--out", "map.png", "--alpha", "0.2") == 0
    expected = explainer.explain(path).image("heatmap")
    difference = np.asarray(Image.open("map.png").convert("RGB"), float) - np.asarray(expected.convert("RGB"), float)
    assert np.abs(difference).mean() < 1


def test_a_default_that_an_older_archive_does_not_have_is_dropped(server: HandlerServer) -> None:
    body = {"code": 400, "type": "BadOptionException", "message": "there is no option 'caption'", "option": "caption"}
    server.first = [(400, {"Content-Type": "application/json"}, json.dumps(body).encode())]
    write("x.png", 1)
    write("y.png", 2)
    assert run(server, "x.png", "y.png", "--parallel", "1") == 0
    assert ["caption" in each.fields for each in server.requests] == [True, False, False]


def test_an_option_of_the_user_is_never_dropped(server: HandlerServer, capsys: pytest.CaptureFixture[str]) -> None:
    write("x.png", 1)
    assert run(server, "x.png", "--method", "feature_maps", "--render", "overlay") == 1
    assert "'render' must be heatmap" in capsys.readouterr().err

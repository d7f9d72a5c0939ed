"""The true classes of sample pictures, by subfolders or by labels.csv."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchserve_saliency.model.labels import Labels
from torchserve_saliency_cli.web.pictures import Sample
from torchserve_saliency_cli.web.true_labels import TrueLabels, true_labels

LABELS = Labels(("healthy", "black rot", "7", "crane", "crane", "top hat"))


def read(folder: Path, *names: str) -> TrueLabels:
    samples = [Sample(name, folder / name, tuple(name.split("/")[:-1])) for name in names]
    return true_labels(folder, samples, LABELS)


@pytest.mark.parametrize(
    ("name", "label", "index"),
    [
        ("healthy/x.png", "healthy", 0),
        ("Black_Rot/x.png", "black rot", 1),
        ("black-rot_/x.png", "black rot", 1),
        ("black_rot/session 2/x.png", "black rot", 1),
        ("1/x.png", "black rot", 1),
        ("7/x.png", "7", 2),  # a label before an index
        ("healthy/1/x.png", "healthy", 0),  # a number is tried last
        ("crane (4)/x.png", "crane (4)", 4),
        ("crane/x.png", "crane", None),  # two classes have this name
        ("99/x.png", "99", None),
        ("top/x.png", "top", None),
        ("top hat/x.png", "top hat", 5),
        ("top3/x.png", "top3", None),  # a value of the option target, and no label
        ("above0.5/x.png", "above0.5", None),
    ],
)
def test_folders_name_classes_as_for_explain(tmp_path: Path, name: str, label: str, index: int | None) -> None:
    found = read(tmp_path, name)
    assert (found.labels, found.indices) == ({name: label}, {name: index})
    assert bool(found.notes) == (index is None)


def test_pictures_without_a_folder_have_no_class(tmp_path: Path) -> None:
    assert read(tmp_path, "x.png") == TrueLabels({}, [])


def test_a_label_that_is_no_class_is_said(tmp_path: Path) -> None:
    (note,) = read(tmp_path, "healty/x.png", "a/x.png", "b/x.png", "c/x.png", "c/y.png", "healthy/x.png").notes
    assert "no class is named 'healty'; did you mean 'healthy'?" in note
    assert note.startswith("Pictures with these labels count neither as right nor as wrong")
    assert note.endswith("; and 1 more.")


def test_a_csv_file_takes_precedence(tmp_path: Path) -> None:
    lines = ("label,path,other", "black_rot,a.png,", f"0,{tmp_path}/b/c.png,x", "healthy,./d.png,", ",e.png,")
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    found = read(tmp_path, "a.png", "b/c.png", "d.png", "e.png", "healthy/f.png")
    assert found.indices == {"a.png": 1, "b/c.png": 0, "d.png": 0}
    assert found.notes == []


def test_paths_of_a_csv_file_that_are_no_pictures_are_said(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\na.png,healthy\nb\\c.png,healthy\nx.png,7\n")
    found = read(tmp_path, "a.png", "b/c.png")
    assert set(found.indices) == {"a.png", "b/c.png"}
    assert found.notes == ["labels.csv names pictures that are not in the folder (1): x.png."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the first line must name the columns path and label, and has no 'path'"),
        (b"path;label\na.png;healthy\n", "has no 'path'"),
        (b"path,class\na.png,healthy\n", "has no 'label'"),
        (b"path,label\na.png\n", "line 2 has no label"),
        (b"path,label\n,healthy\n", "line 2 has no path"),
        (b"path,label\na.png,healthy\na.png,7\n", "line 3 gives a.png the label '7', and an earlier line 'healthy'"),
        (b'path,label\n"a.png,healthy\n', "unexpected end of data"),
        (b"path,label\na.png,\xff\n", "the file is not UTF-8 text"),
        (b"path,label\nother.png,healthy\n", "no path in labels.csv is a picture of the folder, such as other.png"),
    ],
)
def test_a_broken_csv_file_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(text)
    with pytest.raises(ValueError, match=r"labels\.csv") as caught:
        read(tmp_path, "a.png")
    assert message in str(caught.value)

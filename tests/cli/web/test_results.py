"""The predictions in the results of `bulk`, for sample pictures."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.web.bulk_results import refused, row, write_results
from torchserve_saliency_cli.web import results as module
from torchserve_saliency_cli.web.pictures import Sample
from torchserve_saliency_cli.web.results import Results

CAT, DOG = (0, "cat", 0.7), (1, "dog", 0.3)


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, Sample]:
    names = ("cat/a.png", "cat/b.png", "dog/c.png")
    return {name: Sample(name, tmp_path / "samples" / name, (name.split("/")[0],)) for name in names}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def results(tmp_path: Path, folder: Path) -> Results:
    return Results(folder, tmp_path / "samples")


def top(results: Results, samples: dict[str, Sample]) -> dict[str, tuple[int, float]]:
    """Return the index and the probability of the most probable class of each picture that has results."""
    found = results.predictions(samples)
    return {name: (one.predictions[0].index, one.predictions[0].probability) for name, one in found.items()}


def test_rows_are_matched_by_the_path_of_the_picture(
    results: Results, folder: Path, samples: dict[str, Sample], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "samples").mkdir()
    monkeypatch.chdir(tmp_path)
    whole = str(tmp_path / "samples/cat/b.png")
    sources = ("cat/a.png", whole, "samples/dog/c.png", "other/a.png", "a.png", "/elsewhere/cat/a.png", "x.tar", None)
    write_results(folder, [row(source, CAT, DOG) for source in sources])
    assert top(results, samples) == dict.fromkeys(samples, (0, 0.7))


def test_rows_without_predictions_are_left_out(results: Results, folder: Path, samples: dict[str, Sample]) -> None:
    write_results(folder, [refused("cat/a.png"), row("cat/b.png"), row("dog/c.png", DOG)])
    assert top(results, samples) == {"dog/c.png": (1, 0.3)}


def test_the_first_row_of_a_picture_counts_and_the_most_probable_class_is_first(
    results: Results, folder: Path, samples: dict[str, Sample]
) -> None:
    write_results(folder, [row("cat/a.png", CAT, method="lrp")], part=1)
    write_results(folder, [refused("cat/a.png"), row("cat/a.png", DOG, (0, "cat", 0.4)), row("cat/a.png", DOG)])
    assert top(results, samples) == {"cat/a.png": (0, 0.4)}


def test_changed_results_are_read_again(results: Results, folder: Path, samples: dict[str, Sample]) -> None:
    write_results(folder, [row("cat/a.png", CAT)])
    first = results.predictions(samples)
    assert results.predictions(samples) is first
    write_results(folder, [row("cat/b.png", CAT)], part=1)
    assert set(results.predictions(samples)) == {"cat/a.png", "cat/b.png"}


def test_a_folder_without_results_is_refused(results: Results, folder: Path, samples: dict[str, Sample]) -> None:
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no results of `bulk`: there is no file part-\*\.parquet in it"):
        results.predictions(samples)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"source": ["cat/a.png"], "status": [200]}, "it has no column 'predictions'"),
        ({"source": ["cat/a.png"], "status": [200], "predictions": [[1, 2]]}, "cannot be read"),
        ({"source": ["cat/a.png"], "status": [200], "predictions": [[{"index": 1}]]}, "label"),
        ({"source": [3], "status": [200], "predictions": [[{"index": 1}]]}, "cannot be read"),
    ],
)
def test_other_tables_are_refused(
    results: Results, folder: Path, samples: dict[str, Sample], columns: dict[str, list[object]], reason: str
) -> None:
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "part-0.parquet")
    with pytest.raises(ValueError, match=reason) as caught:
        results.predictions(samples)
    assert "part-0.parquet cannot be read as results of `bulk`" in str(caught.value)


def test_a_broken_file_is_named(results: Results, folder: Path, samples: dict[str, Sample]) -> None:
    file = write_results(folder, [row("cat/a.png", CAT)])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"part-00000\.parquet cannot be read"):
        results.predictions(samples)


def test_without_pyarrow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--results needs pyarrow: pip install 'torchserve-saliency\[page\]'"):
        Results(folder, folder)

"""The evaluation of maps: the measures, the cases and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.networks import Modules, classifier, made
from tools.evaluation import __main__ as evaluation
from tools.evaluation.case import Case, Map, Mask
from tools.evaluation.leaf_cases import single_cases
from tools.evaluation.localisation import points, share
from tools.evaluation.map_sources import CONTROL_MAPPERS, centre_map, edge_map, method_mapper, options_for, random_map
from tools.evaluation.photographs import mosaics, on_grey, single_case
from tools.evaluation.run import SCORES, measure_faithfulness, measure_localisation
from tools.evaluation.table import table
from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.archiving.pictures import picture_files, spread


def map_and_mask(row: int, column: int) -> tuple[Map, Mask]:
    """Return a map with one peak, and a mask of 10 by 10 pixels in the upper left corner."""
    saliency = np.zeros((224, 224), np.float32)
    saliency[row, column] = 1
    mask = np.zeros((224, 224), bool)
    mask[:10, :10] = True
    return saliency, mask


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(0, 0, True), (9, 9, True), (12, 5, True), (13, 5, False), (12, 12, False), (200, 3, False)],
)
def test_pointing(row: int, column: int, hit: bool) -> None:
    assert points(*map_and_mask(row, column)) is hit


def test_a_constant_map_does_not_point() -> None:
    _, mask = map_and_mask(0, 0)
    assert not points(np.ones((224, 224), np.float32), mask)


def test_share_is_of_the_positive_values() -> None:
    saliency, mask = map_and_mask(3, 3)
    saliency[100, 100], saliency[4, 4], saliency[200, 200] = 3, -5, -1
    assert share(saliency, mask) == pytest.approx(0.25)
    assert share(np.zeros_like(saliency), mask) == 0
    assert share(np.ones_like(saliency), mask) == pytest.approx(100 / 224**2)


def case(image: np.ndarray) -> Case:
    return Case(Image.fromarray(image.astype(np.uint8)), (0,), (np.ones(image.shape[:2], bool),))


def test_the_edge_map_is_high_at_an_edge_and_zero_on_plain_areas() -> None:
    image = np.zeros((224, 224, 3))
    image[:, 100:] = 255
    edges = edge_map(case(image))
    assert edges[50].argmax() in (99, 100)
    assert edges[:, :90].max() == 0
    assert edges[:, 110:].max() == 0


def test_the_centre_map_peaks_in_the_middle() -> None:
    centre = centre_map(case(np.zeros((224, 224, 3))))
    row, column = np.unravel_index(centre.argmax(), centre.shape)
    assert {int(row), int(column)} <= {111, 112}


def test_a_perfect_map_scores_one() -> None:
    cases = list(single_cases(3))
    found = measure_localisation(
        {"perfect": lambda c: [m.astype(np.float32) for m in c.masks], **CONTROL_MAPPERS}, cases
    )
    assert found["perfect"] == {"pointing": 1.0, "share": 1.0}
    assert found["random map"]["share"] < 0.2


def test_contributions_are_measured_by_their_positive_part_and_sensitivities_by_their_magnitude() -> None:
    assert options_for("integrated_gradients") == {
        "method": "integrated_gradients",
        "reduce": "sum",
        "polarity": "positive",
    }
    assert options_for("smooth_grad")["reduce"] == "max_abs"


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of eight plain pictures in different colours."""
    for index in range(8):
        colour = (index * 36, 255 - index * 30, (index * 90) % 255)
        Image.new("RGB", (20, 30), colour).save(tmp_path / f"{index}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_photographs_are_spread_over_the_folder(folder: Path) -> None:
    paths = picture_files(folder)
    assert [p.stem for p in paths] == list("01234567")
    assert [p.stem for p in spread(paths, 4)] == list("0246")
    assert len(spread(paths, 100)) == 8


@pytest.fixture
def measured(explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of an archive that is loaded as a small network."""
    monkeypatch.setattr(evaluation, "load_patient", lambda path: explainer)
    archive = tmp_path / "net.mar"
    archive.touch()
    return archive


def test_f6_an_image_folder_is_evaluated(measured: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = folder / "train" / "cat"
    inside.mkdir(parents=True)
    for path in folder.glob("*.png"):
        path.rename(inside / path.name)
    (inside / "broken.png").write_bytes(b"no picture")
    words = [str(measured), "--pictures", str(folder), "--methods", "gradient", "--count", "2", "--mosaics", "0"]
    assert evaluation.main(words) == 0
    printed = capsys.readouterr()
    row = next(line for line in printed.out.splitlines() if "`gradient`" in line)
    assert all(cell.strip() for cell in row.split("|")[1:3])
    assert "broken.png cannot be read" in printed.err


@pytest.mark.parametrize("content", ["nothing", "a text", "a broken picture", "no folder"])
def test_f6_a_folder_without_pictures_is_an_error(
    measured: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    if content != "no folder":
        (folder / "sub").mkdir(parents=True)
    if "a " in content:
        (folder / "sub" / ("x.txt" if "text" in content else "x.png")).write_text("no picture")
    with pytest.raises(SystemExit) as exited:
        evaluation.main([str(measured), "--pictures", str(folder)])
    assert exited.value.code == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert str(folder) in printed.err


@pytest.mark.parametrize(
    "words", [["--leaves", "0"], ["--leaves", "-3"], ["a.mar", "--pictures", ".", "--count", "0"], ["a.mar"], []]
)
def test_f6_nothing_to_measure_is_an_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        evaluation.main(words)
    assert exited.value.code == 2


def test_the_target_of_a_single_photograph_is_the_predicted_class(explainer: Explainer, folder: Path) -> None:
    path = picture_files(folder)[3]
    one = single_case(path, explainer, seed=5)
    assert one.image.size == (16, 16)
    assert one.targets == (explainer.explain(path).predictions[0].index,)


def test_a_mosaic_has_four_classes_in_four_cells(explainer: Explainer, folder: Path) -> None:
    class ColourExplainer:
        """An explainer that predicts the class of a picture from its colour."""

        classifier = explainer.classifier

        def explain(self, png: bytes, **options: object) -> object:
            import io
            from types import SimpleNamespace

            red = Image.open(io.BytesIO(png)).getpixel((8, 8))[0]  # type: ignore[index]
            return SimpleNamespace(predictions=[SimpleNamespace(index=red // 36, probability=red / 255)])

    (one,) = mosaics(picture_files(folder), ColourExplainer(), 1)  # type: ignore[arg-type]
    assert one.targets == (7, 6, 5, 4)
    assert np.stack(one.masks).sum(0).tolist() == np.ones((16, 16)).tolist()
    for target, mask in zip(one.targets, one.masks, strict=True):
        assert (np.asarray(one.image)[mask][:, 0] // 36 == target).all()


def test_a_small_picture_is_centred_on_grey(explainer: Explainer) -> None:
    whole = np.asarray(on_grey(Image.new("RGB", (8, 8), "red"), explainer.classifier.input))
    assert (whole[4:12, 4:12] == (255, 0, 0)).all()
    assert (whole[0] == 128).all()


def test_the_faithfulness_of_every_kind_of_map_is_measured(explainer: Explainer) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3))
    mappers = {"gradient": method_mapper(explainer, "gradient"), **CONTROL_MAPPERS}
    found = measure_faithfulness(explainer, mappers, [case(noise)])
    assert set(found) == set(mappers)
    for figures in found.values():
        assert set(figures) == {"ms", *SCORES}
        assert 0 <= figures["deletion_blur"] <= 1
    assert found["gradient"] != found["random map"]


def test_a_random_map_is_seeded_by_its_case() -> None:
    one = case(np.zeros((8, 8, 3)))
    assert (random_map(one) == random_map(one)).all()


def test_the_table_has_one_row_per_kind_of_map_and_leaves_missing_cells_empty() -> None:
    columns = [("share", "a", "share", 2), ("ms", "b", "ms", 0)]
    lines = table({"a": {"x": {"share": 0.256}}, "b": {"x": {"ms": 12.6}}}, columns, ["x", "y"]).splitlines()
    assert lines[1] == "|:------|--------:|-----:|"
    assert [line.split() for line in lines[2:]] == [["|", "x", "|", "0.26", "|", "13", "|"], ["|", "y", "|", "|", "|"]]

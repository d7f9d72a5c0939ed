"""The contact sheet of the command `explain`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency import Explainer, RequestError
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency_cli.client.results import Result
from torchserve_saliency_cli.client.sheet import MOST_ROWS, Sheet
from torchserve_saliency_cli.client.true_classes import TrueClass
from torchserve_saliency_cli.contact_sheet import CAPTION, GAP, SIDE, Cell, Section, contact_sheet


@pytest.fixture(scope="module")
def found() -> DisplayedExplanation:
    return Explainer(classifier(made(Modules))).explain(picture(1), method="grad_cam", target="top2")


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 3, 1), (8, 3, 8), (9, 6, 5), (61, 9, 21)])
def test_f2_the_results_are_in_rows(found: DisplayedExplanation, count: int, columns: int, rows: int) -> None:
    sheet = Sheet()
    for _ in range(count):
        sheet.add(Result(Path("a.png"), found, TrueClass("dog", 1)))
    drawn = sheet.drawn("Title")
    single = contact_sheet("Title", [Section("", "", [""] * columns, [])])
    assert drawn.size == (single.width, single.height + rows * (SIDE + CAPTION + GAP))


def test_a_result_has_its_picture_its_predictions_and_its_map(found: DisplayedExplanation) -> None:
    sheet = Sheet()
    sheet.add(Result(Path("folder/a.png"), found, TrueClass("cat", 0)))
    sheet.add(Result(Path("folder/b.png"), RequestError(415, "X", "no picture"), None))
    (seen, chart, drawn), (blank, error, _) = sheet.cells
    assert (seen.caption, chart.caption, drawn.caption) == (
        "folder/a.png",
        "wrong, it is cat",
        "apple pie, grad_cam +1",
    )
    np.testing.assert_array_equal(np.asarray(seen.picture), found.picture.pixels)
    assert drawn.picture == found.image(index=0)
    assert (blank.caption, error.caption) == ("folder/b.png", "no answer")
    right = Result(Path("a.png"), found, TrueClass("apple pie", found.predictions[0].index))
    sheet.add(right)
    assert sheet.cells[2][1].caption == "right"


def test_the_cells_of_a_large_sheet_are_counted(found: DisplayedExplanation) -> None:
    sheet = Sheet(cells=[(Cell(Image.new("L", (1, 1))),) * 3] * MOST_ROWS)
    sheet.add(Result(Path("a.png"), found))
    assert (len(sheet.cells), sheet.left_out) == (MOST_ROWS, 1)


def test_a_picture_that_is_not_square_keeps_its_shape() -> None:
    wide = Image.new("RGB", (100, 50), "red")
    sheet = np.asarray(contact_sheet("Title", [Section("", "", ["a"], [[Cell(wide)]])]).convert("RGB")).astype(int)
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 50) & (sheet[..., 2] < 50)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (len(rows), len(columns)) == (SIDE // 2, SIDE)


def test_a_class_without_a_map_has_a_row() -> None:
    explainer = Explainer(classifier(made(Modules)))
    sheet = Sheet()
    for explanation in (
        explainer.explain(picture(1), render="none"),
        explainer.explain(picture(1), target="above0.99"),
    ):
        sheet.add(Result(Path("a.png"), explanation))
    assert len(sheet.cells) == 2
    sheet.drawn("Title").save(io.BytesIO(), "PNG")

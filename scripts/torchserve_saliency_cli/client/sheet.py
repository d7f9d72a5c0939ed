"""The contact sheet of a command line: the picture, the predictions and the map of each result, in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from torchserve_saliency.methods.base import Shows
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency.responses.explanation import Prediction
from torchserve_saliency_cli.client.results import Result
from torchserve_saliency_cli.contact_sheet import SIDE, Cell, Section, bars, contact_sheet, words

MOST_ROWS = 600
HEADINGS = ("the picture", "the predictions", "the map")
ACROSS = ((8, 1), (60, 2), (MOST_ROWS, 3))  # results side by side, up to this number of results
LONGEST_CAPTION = 30
MOST_BARS = 5


@dataclass
class Sheet:
    """Collects the cells of results, at the size that they are shown at."""

    cells: list[tuple[Cell, Cell, Cell]] = field(default_factory=list)
    left_out: int = 0

    def add(self, result: Result) -> None:
        """Add a result; those beyond MOST_ROWS are only counted."""
        if len(self.cells) >= MOST_ROWS:
            self.left_out += 1
        elif isinstance(result.outcome, DisplayedExplanation):
            self.cells.append(_explained(result, result.outcome))
        else:
            error = Cell(words(str(result.outcome)), "no answer")
            self.cells.append((Cell(_blank(), _shortened(result.name)), error, Cell(_blank())))

    def drawn(self, title: str) -> Image.Image:
        """Return the sheet."""
        across = next((count for most, count in ACROSS if len(self.cells) <= most), ACROSS[-1][1])
        rows = [_row(self.cells[first : first + across]) for first in range(0, len(self.cells), across)]
        note = f"{len(self.cells)} pictures" + (f"; {self.left_out} more are left out" if self.left_out else "")
        return contact_sheet(title, [Section(note, "", HEADINGS * across, rows)])


def _row(groups: Sequence[tuple[Cell, Cell, Cell]]) -> list[Cell]:
    return [cell for group in groups for cell in group]


def _explained(result: Result, explanation: DisplayedExplanation) -> tuple[Cell, Cell, Cell]:
    """Return the picture, the predictions and the map of an explanation."""
    shares = {_unique(one, explanation): one.probability for one in explanation.predictions[:MOST_BARS]}
    verdict = {None: "", True: "right", False: f"wrong, it is {result.true_class.label if result.true_class else ''}"}
    drawn = _small(explanation.image(index=0, caption=False)) if explanation.has_maps else _blank()
    map_caption = _map_caption(explanation) if explanation.maps else "no class was explained"
    return (
        Cell(_small(_seen(explanation)), _shortened(result.name)),
        Cell(bars(shares), _shortened(verdict[result.right], keep_end=False)),
        Cell(drawn, map_caption),
    )


def _unique(prediction: Prediction, explanation: DisplayedExplanation) -> str:
    """Return a label, with its index if another prediction has the same label."""
    same = [one for one in explanation.predictions if one.label == prediction.label]
    return prediction.label if len(same) == 1 else f"{prediction.label} ({prediction.index})"


def _seen(explanation: DisplayedExplanation) -> Image.Image:
    """Return the part of the picture that the network saw, or the picture in full if the map covers that."""
    if explanation.view.space == "original" or explanation.shows is not Shows.SALIENCY or not explanation.has_maps:
        return explanation.picture.original
    return Image.fromarray(explanation.picture.pixels)


def _map_caption(explanation: DisplayedExplanation) -> str:
    """Return the class and the method of the first map, and how many more there are."""
    first, more = explanation.maps[0], len(explanation.maps) - 1
    rival = f" against {first.against.label}" if first.against else ""
    return _shortened(f"{first.target.label}{rival}, {explanation.method}", keep_end=False) + (
        f" +{more}" if more else ""
    )


def _small(picture: Image.Image) -> Image.Image:
    """Return a copy of a picture that is not larger than a cell, on twice as many pixels."""
    small = picture.copy()
    small.thumbnail((2 * SIDE, 2 * SIDE))
    return small


def _blank() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), "white")


def _shortened(text: str, keep_end: bool = True) -> str:
    """Return a text that fits below a cell; of a path, the end is kept."""
    if len(text) <= LONGEST_CAPTION:
        return text
    return f"…{text[1 - LONGEST_CAPTION :]}" if keep_end else f"{text[: LONGEST_CAPTION - 1]}…"

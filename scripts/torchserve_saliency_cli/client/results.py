"""The result for one picture of a command line, and its lines in the files of JSON and CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from torchserve_saliency.errors import RequestError
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency_cli.client.true_classes import TrueClass

COLUMNS = (
    "path",
    "true_class",
    "predicted",
    "index",
    "probability",
    "correct",
    "target",
    "against",
    "method",
    "score",
    "map",
    "seconds",
    "status",
    "type",
    "message",
)


@dataclass(frozen=True)
class Result:
    """A picture's explanation or error, the file with its map, its true class, and the seconds that it took.

    `path` is None if a method makes the picture itself. `right` is None if the true class is not known.
    """

    path: Path | None
    outcome: DisplayedExplanation | RequestError
    true_class: TrueClass | None = None
    out: Path | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Return the path of the picture as it was named, or the method."""
        if self.path is not None:
            return str(self.path)
        return self.outcome.method if isinstance(self.outcome, DisplayedExplanation) else "(no picture)"

    @property
    def right(self) -> bool | None:
        """Tell if the predicted class is the true one."""
        if isinstance(self.outcome, RequestError) or self.true_class is None or self.true_class.index is None:
            return None
        return self.outcome.predictions[0].index == self.true_class.index

    def record(self) -> dict[str, Any]:
        """Return the line of JSON: the path, the true class if there is one, and the answer or the error."""
        record: dict[str, Any] = {"path": None if self.path is None else str(self.path)}
        if self.true_class is not None:
            record |= {"true_class": self.true_class.label, "correct": self.right}
        if isinstance(self.outcome, RequestError):
            return record | {"error": self.outcome.body()}
        return record | ({} if self.out is None else {"map": str(self.out)}) | self.outcome.to_dict()

    def row(self) -> Mapping[str, object]:
        """Return the cells of the line of CSV by their columns."""
        row: dict[str, object] = {"path": self.path, "map": self.out, "seconds": f"{self.seconds:.3f}"}
        if self.true_class is not None:
            row |= {"true_class": self.true_class.label, "correct": self.right}
        if isinstance(self.outcome, RequestError):
            return row | {"status": self.outcome.status, "type": self.outcome.type, "message": self.outcome.message}
        best, maps = self.outcome.predictions[0], self.outcome.maps
        row |= {"predicted": best.label, "index": best.index, "probability": f"{best.probability:.6g}"}
        row |= {"target": "; ".join(one.target.label for one in maps), "method": self.outcome.method, "status": 200}
        row |= {"against": "; ".join(one.against.label for one in maps if one.against)}
        row |= {"score": "; ".join(f"{one.findings['score']:.6g}" for one in maps if "score" in one.findings)}
        return row


@dataclass(frozen=True)
class Records:
    """The open files that a line is written to for each result."""

    json: IO[str] | None = None
    csv: IO[str] | None = None

    def write(self, result: Result) -> None:
        """Write the lines of a result."""
        if self.json:
            self.json.write(f"{json.dumps(result.record(), ensure_ascii=False)}\n")
            self.json.flush()
        if self.csv:
            csv.DictWriter(self.csv, COLUMNS).writerow(result.row())
            self.csv.flush()


@contextmanager
def open_records(json_target: str | None, csv_target: str | None) -> Iterator[Records]:
    """Yield the files of JSON and CSV, each open for writing if it is named; `-` is the standard output."""
    with _opened(json_target) as lines, _opened(csv_target) as table:
        if table:
            csv.writer(table).writerow(COLUMNS)
        yield Records(lines, table)


@contextmanager
def _opened(target: str | None) -> Iterator[IO[str] | None]:
    """Yield the file of a target."""
    if target is None or target == "-":
        with nullcontext(None if target is None else sys.stdout) as stream:
            yield stream
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        yield file

"""The predictions in the results of `bulk`: FOLDER/part-*.parquet, with one row per picture, target and method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torchserve_saliency_cli.web.pictures import Sample
from torchserve_saliency_cli.web.verdicts import Prediction, read_predictions

if TYPE_CHECKING:
    from pyarrow import RecordBatch

COLUMNS = ("source", "status", "predictions")
ROWS = 4096  # per batch that is read
Samples = Mapping[str, Sample]


@dataclass(frozen=True)
class Stored:
    """The predictions for a picture, and the time of the file that holds them, in nanoseconds."""

    predictions: Sequence[Prediction]
    modified: int


class Results:
    """The results in a folder, for sample pictures in another folder. Files are read again if they have changed."""

    def __init__(self, folder: Path, samples: Path) -> None:
        """Raise ValueError without pyarrow, which reads the files."""
        if find_spec("pyarrow") is None:
            raise ValueError("--results needs pyarrow: pip install 'torchserve-saliency[page]'")
        self.folder = folder
        self._tops = {samples.absolute(), samples.resolve()}
        self._read: tuple[object, Mapping[str, Stored]] = (None, {})

    def predictions(self, samples: Samples) -> Mapping[str, Stored]:
        """Return the predictions of the sample pictures that have a row of status 200, by the pictures' names.

        Raise ValueError if the folder holds no results, or a file that cannot be read.
        """
        files = sorted(self.folder.glob("part-*.parquet"))
        if not files:
            raise ValueError(f"{self.folder} holds no results of `bulk`: there is no file part-*.parquet in it")
        state = ([(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files], set(samples))
        if self._read[0] != state:
            found: dict[str, Stored] = {}
            for file in files:
                for name, stored in self._rows(file, samples):
                    found.setdefault(name, stored)
            self._read = (state, found)
        return self._read[1]

    def _rows(self, file: Path, samples: Samples) -> Iterator[tuple[str, Stored]]:
        """Yield the name and the predictions of each row of a file that belongs to a sample picture."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        modified = file.stat().st_mtime_ns
        try:
            with ParquetFile(file) as table:
                if missing := [name for name in COLUMNS if name not in table.schema_arrow.names]:
                    raise ValueError(f"it has no column '{missing[0]}'")
                for batch in table.iter_batches(ROWS, columns=list(COLUMNS)):
                    for name, predictions in self._batch(batch, samples):
                        yield name, Stored(predictions, modified)
        except (ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} cannot be read as results of `bulk`: {error}") from error

    def _batch(self, batch: RecordBatch, samples: Samples) -> Iterator[tuple[str, Sequence[Prediction]]]:
        """Yield the name and the predictions of the rows of a batch that belong to a sample picture."""
        sources = cast("list[str | None]", batch.column("source").to_pylist())
        statuses = cast("list[int | None]", batch.column("status").to_pylist())
        found = [
            (row, name)
            for row, (source, status) in enumerate(zip(sources, statuses, strict=True))
            if status == 200 and source and (name := self._name(source, samples)) is not None
        ]
        rows = batch.column("predictions").take([row for row, _ in found]).to_pylist() if found else []
        for (_, name), values in zip(found, rows, strict=True):
            if predictions := read_predictions(values):
                yield name, predictions

    def _name(self, source: str, samples: Samples) -> str | None:
        """Return the name of the sample picture of a source: a path, relative to their folder if it is not whole."""
        relative = source.replace("\\", "/").removeprefix("./")
        if relative in samples:
            return relative
        path = Path(source).absolute()
        names = (path.relative_to(top).as_posix() for top in self._tops if path.is_relative_to(top))
        return next((name for name in names if name in samples), None)

"""The true classes of sample pictures: the subfolders that they are in, or the file labels.csv in their folder."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.requests.class_lookup import find_class
from torchserve_saliency_cli.client.errors import RefusedError
from torchserve_saliency_cli.client.true_classes import Lookup, TrueClass, TrueClasses
from torchserve_saliency_cli.web.pictures import Sample

FILE = "labels.csv"
COLUMNS = ("path", "label")
SHOWN = 3  # examples in a sentence


@dataclass(frozen=True)
class TrueLabels:
    """The true classes of sample pictures by their names, and sentences about labels that have no picture or class."""

    classes: Mapping[str, TrueClass]
    notes: Sequence[str]

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels of the classes."""
        return {name: one.label for name, one in self.classes.items()}

    @property
    def indices(self) -> Mapping[str, int | None]:
        """Return the indices of the classes; None for a label that is no class of the model."""
        return {name: one.index for name, one in self.classes.items()}


def true_labels(folder: Path, samples: Iterable[Sample], labels: Labels) -> TrueLabels:
    """Return the true classes of sample pictures for a model with these labels.

    A file labels.csv takes precedence over subfolders. Names mean the same classes as those of `explain --wrong-only`.
    Raise ValueError for a file that cannot be read.
    """
    found, samples = TrueClasses(_lookup(labels)), list(samples)
    rows = read_labels_csv(folder)
    if rows is None:
        named = {sample.name: found.of(sample.folders) for sample in samples}
        notes: list[str] = []
    else:
        named = {sample.name: found.of((rows[sample.name],)) for sample in samples if sample.name in rows}
        notes = _missing(rows, named)
    classes = {name: true_class for name, true_class in named.items() if true_class is not None}
    return TrueLabels(classes, notes + _unknown(classes.values(), found))


def read_labels_csv(folder: Path) -> Mapping[str, str] | None:
    """Return the labels in labels.csv by the names of their pictures, or None if there is no such file.

    A row with an empty label is left out. Raise ValueError for a file that cannot be read.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    labels: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise ValueError(f"the first line must name the columns path and label, and has no '{missing[0]}'")
            for row in reader:
                _add(labels, row, reader.line_num, folder)
    except (ValueError, csv.Error) as error:
        reason = "the file is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ValueError(f"{file}: {reason}") from error
    return labels


def _add(labels: dict[str, str], row: Mapping[str, str | None], line: int, folder: Path) -> None:
    """Add a row to the labels; raise ValueError if it is incomplete, or contradicts an earlier one."""
    path, label = ((row[name] or "").strip() for name in COLUMNS)
    if not path or row["label"] is None:
        raise ValueError(f"line {line} has no {'label' if path else 'path'}")
    name = _name(path, folder)
    if label and labels.setdefault(name, label) != label:
        raise ValueError(f"line {line} gives {path} the label '{label}', and an earlier line '{labels[name]}'")


def _name(path: str, folder: Path) -> str:
    """Return the name of the sample picture of a path, which is relative to the folder or absolute."""
    plain = PurePosixPath(path.replace("\\", "/"))
    for top in (folder.absolute(), folder.resolve()):
        if plain.is_relative_to(top):
            return plain.relative_to(top).as_posix()
    return plain.as_posix()


def _lookup(labels: Labels) -> Lookup:
    """Return the function that finds the index and the label of a class by its name, as the server does."""

    def find(picture: bytes, name: str) -> tuple[int, str]:
        try:
            index = find_class(name.strip(), labels, "target")
        except RequestError as error:
            raise RefusedError(error.status, error.type, error.message, error.option) from error
        return index, labels.display(index)

    return find


def _missing(rows: Mapping[str, str], named: Mapping[str, object]) -> list[str]:
    """Return a sentence about the paths that are no sample pictures; raise ValueError if none is one."""
    absent = [name for name in rows if name not in named]
    examples = ", ".join(absent[:SHOWN])
    if rows and not named:
        raise ValueError(f"no path in {FILE} is a picture of the folder, such as {examples}; paths are relative to it")
    return [f"{FILE} names pictures that are not in the folder ({len(absent)}): {examples}."] if absent else []


def _unknown(classes: Iterable[TrueClass], found: TrueClasses) -> list[str]:
    """Return a sentence about the labels that are no classes of the model."""
    unknown = list(dict.fromkeys(one.label for one in classes if one.index is None))
    if not unknown:
        return []
    reasons = "; ".join(found.reasons.get(name, f"'{name}' is no class name") for name in unknown[:SHOWN])
    more = f"; and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return [f"Pictures with these labels count neither as right nor as wrong: {reasons}{more}."]

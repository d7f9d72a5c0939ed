"""The accuracy of an archive on pictures whose folders name their true classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torchserve_saliency.errors import ModelError, RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.requests.message import Message
from torchserve_saliency.responses.explanation import Prediction
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.pictures import pictures_below
from torchserve_saliency_cli.archiving.progress import counted

_BATCH = 8


@dataclass(frozen=True)
class ClassAccuracy:
    """The pictures of one class: how many there are, how many are right, and the class most of the others got."""

    label: str
    pictures: int
    right: int
    mistaken_for: str | None = None


@dataclass(frozen=True)
class FolderAccuracy:
    """The accuracy on a folder, by class; `unreadable` are pictures that could not be read, with the first reason."""

    classes: tuple[ClassAccuracy, ...]
    unreadable: int = 0
    reason: str = ""

    @property
    def pictures(self) -> int:
        """Return the number of pictures."""
        return sum(each.pictures for each in self.classes)

    @property
    def accuracy(self) -> float:
        """Return the share of pictures whose class is right."""
        return sum(each.right for each in self.classes) / self.pictures if self.pictures else 0.0

    def lines(self) -> list[str]:
        """Return the accuracy in total and by class, one line each."""
        total = f"{self.accuracy:.1%} of {self.pictures} pictures"
        lines = [f"  accuracy    {total}"]
        width = max((len(each.label) for each in self.classes), default=0)
        for each in self.classes:
            confusion = f", mostly taken for {each.mistaken_for}" if each.mistaken_for else ""
            lines.append(f"              {each.label:<{width}}  {each.right} of {each.pictures}{confusion}")
        if self.unreadable:
            lines.append(f"              {self.unreadable} pictures could not be read: {self.reason}")
        return lines


def folder_accuracy(explainer: Explainer, folder: Path) -> FolderAccuracy:
    """Return the accuracy on the pictures in subfolders of `folder`; raise UsageError for a folder that is no class."""
    subfolders = sorted(each for each in folder.iterdir() if each.is_dir() and pictures_below(each))
    truth = _classes([each.name for each in subfolders], explainer.classifier.labels)
    labelled = [(file, truth[each.name]) for each in subfolders for file in pictures_below(each)]
    batches = [labelled[i : i + _BATCH] for i in range(0, len(labelled), _BATCH)]
    results: dict[int, list[int]] = {index: [] for index in truth.values()}
    errors: list[str] = []
    for batch in counted(batches, f"accuracy on {len(labelled)} pictures, in batches of {_BATCH}"):
        for (_, index), found in zip(batch, _predicted(explainer, [file for file, _ in batch]), strict=True):
            if isinstance(found, int):
                results[index].append(found)
            else:
                errors.append(found)
    labels = explainer.classifier.labels
    accuracies = tuple(_accuracy(index, found, labels) for index, found in results.items())
    return FolderAccuracy(accuracies, len(errors), errors[0] if errors else "")


def check_accuracy(found: FolderAccuracy, least: float | None, folder: Path) -> None:
    """Raise ModelError if the accuracy is below `least`."""
    if least is not None and not found.accuracy >= least:
        raise ModelError(
            f"the accuracy on '{folder.name}' is {found.accuracy:.1%}, below --min-accuracy {least:g}; check "
            "--input-size, --resize, --mean, --std, and the order of --labels\n" + "\n".join(found.lines())
        )


def _classes(names: Sequence[str], labels: Labels) -> Mapping[str, int]:
    """Return the class of each folder: by its label, else by its index."""
    found: dict[str, int] = {}
    for name in names:
        try:
            found[name] = _class(name, labels)
        except RequestError as error:
            raise UsageError(f"--check-folder: the subfolder '{name}' names no class: {error.message}") from error
    return found


def _class(name: str, labels: Labels) -> int:
    for spelling in (name, name.replace("_", " ")):
        try:
            return labels.find(spelling)
        except RequestError:
            continue
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    return labels.find(name)


def _predicted(explainer: Explainer, files: Sequence[Path]) -> list[int | str]:
    """Return the predicted class of each picture, or the reason why it cannot be read."""
    messages = [Message({"data": file.read_bytes(), "top_k": 1}) for file in files]
    outcomes = explainer.begin(explainer.threads.each(explainer.read, messages)).finish()
    return [
        outcome.message if isinstance(outcome, RequestError) else cast(Sequence[Prediction], outcome)[0].index
        for outcome in outcomes
    ]


def _accuracy(index: int, found: Sequence[int], labels: Labels) -> ClassAccuracy:
    wrong = [each for each in found if each != index]
    confused = labels.display(max(set(wrong), key=wrong.count)) if wrong else None
    return ClassAccuracy(labels.display(index), len(found), len(found) - len(wrong), confused)

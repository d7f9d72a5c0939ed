"""The command line of scripts/archive.py, read into one frozen value."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saliency.errors import RequestError
from saliency.labels import read_labels
from saliency.logits import Choice
from saliency.methods import METHODS
from saliency.options import OPTIONS, PARAMETERS
from saliency.reading import read_defaults
from saliency.schema import kinds, read_one
from saliency.weights import is_scripted
from scripts.archiving.flags import default_names, parser
from scripts.archiving.pictures import picture_files

WEIGHT_FILES = (".pt", ".pth", ".safetensors")
_OURS = frozenset(
    {
        *("torch", "torchvision", "timm", "numpy", "PIL", "matplotlib", "yaml", "ts"),
        *("saliency", "saliency_handler", "scripts"),
    }
)


class UsageError(Exception):
    """Something that was typed cannot be meant; the message says what, and what could."""


@dataclass(frozen=True)
class Wanted:
    """What is to be archived, as it was asked for; None where nothing was said."""

    name: str
    version: str
    export_path: Path
    force: bool
    archive_format: str
    directions: int
    arch: str | None
    arguments: Mapping[str, object]
    model_file: Path | None
    weights: str
    num_classes: int | None
    seed: int
    labels: tuple[str, ...] | None
    logits: Choice
    size: tuple[int, int] | None
    resize: tuple[int, ...] | None
    interpolation: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    workers: int
    batch_size: int
    max_batch_delay: int
    response_timeout: int
    compile: str | None
    precision: str
    limits: Mapping[str, object]
    sanity: str
    sanity_samples: Path | None
    defaults: Mapping[str, object]

    @property
    def mar(self) -> Path:
        """Return where the archive goes."""
        return self.export_path / f"{self.name}.mar"

    @property
    def scripted(self) -> bool:
        """Tell whether the weights' file is the network, too: a TorchScript file."""
        return self.arch is None and self.model_file is None

    @property
    def weights_file(self) -> Path | None:
        """Return the file that `weights` is, None where it is a name; UsageError where it is a file that is missing."""
        path = Path(self.weights)
        if path.is_file():
            return path
        if path.suffix.lower() in WEIGHT_FILES or "/" in self.weights:
            raise UsageError(f"there is no file '{self.weights}'")
        return None


def read_arguments(words: Sequence[str] | None = None) -> Wanted:
    """Return what the command line asks for; UsageError, or argparse's exit 2, where it does not make sense."""
    said = parser().parse_args(words)
    _check_name("--model-name", said.model_name)
    _check_name("--version", said.version)
    _check_network(said)
    wanted = Wanted(
        name=said.model_name,
        version=said.version,
        export_path=said.export_path,
        force=said.force,
        archive_format=said.archive_format,
        directions=said.directions,
        arch=said.arch,
        arguments=said.arguments,
        model_file=_model_file(said.model_file),
        weights=_weights(said),
        num_classes=said.num_classes,
        seed=said.seed,
        labels=_labels(said.labels),
        logits=said.logits,
        size=said.input_size,
        resize=said.resize,
        interpolation=said.interpolation,
        mean=said.mean,
        std=said.std,
        workers=said.workers,
        batch_size=said.batch_size,
        max_batch_delay=said.max_batch_delay,
        response_timeout=said.response_timeout,
        compile=said.compile,
        precision=said.precision,
        limits=said.limits,
        sanity=said.sanity,
        sanity_samples=_samples(said.sanity_samples),
        defaults=_defaults({name: getattr(said, name) for name in default_names()}),
    )
    if wanted.mar.exists() and not wanted.force:
        raise UsageError(f"'{wanted.mar}' exists; --force overwrites it")
    return wanted


def _check_network(said: argparse.Namespace) -> None:
    """Raise UsageError where it is not said which network is meant, or what is said does not apply to it."""
    if (said.arch is None) == (said.model_file is None) and (said.arch or said.serialized_file is None):
        raise UsageError(
            "give either --arch (a torchvision or timm classifier) or --model-file (your own network), "
            "or --serialized-file alone (a TorchScript network)"
        )
    if said.arch is None and (said.num_classes is not None or said.arguments):
        raise UsageError("--num-classes and --arguments are for --arch; a network of your own takes no arguments")
    if said.arch is None and said.model_file is None:
        _check_scripted(said)


def _check_scripted(said: argparse.Namespace) -> None:
    """Raise UsageError where --serialized-file is no network by itself, or a flag does not apply to one."""
    if said.weights:
        raise UsageError("--weights is for --arch or --model-file; --serialized-file alone is a TorchScript network")
    if said.compile or said.seed:
        raise UsageError(f"--{'compile' if said.compile else 'seed'} does not apply to a TorchScript network")
    if said.serialized_file.is_file() and not is_scripted(said.serialized_file):
        raise UsageError(
            f"'{said.serialized_file}' is no TorchScript network: --arch or --model-file must say which network its "
            "weights are of (pickled modules are not read)"
        )


def _defaults(said: Mapping[str, str | None]) -> dict[str, object]:
    """Return the defaults that were given, as numbers where they are; UsageError where one is wrong."""
    given: dict[str, object] = {name: value for name, value in said.items() if value is not None}
    try:
        read_defaults(given)
    except RequestError as error:
        raise UsageError(error.message) from error
    return {name: _plain(name, value) for name, value in given.items()}


def _plain(name: str, value: object) -> object:
    """Return a default as YAML holds it: a number or truth value if it is read as one, else the text itself."""
    kind = OPTIONS[name] if name in OPTIONS else kinds(METHODS[min(PARAMETERS[name])].parameters)[name]
    read = read_one(name, kind, value)
    return read if isinstance(read, bool | int | float | str) else value


def _weights(said: argparse.Namespace) -> str:
    """Return what the weights are to be: of a named network DEFAULT, if nothing is said."""
    if said.weights and said.serialized_file:
        raise UsageError("--weights and --serialized-file say the same: give one of them")
    if said.serialized_file and not said.serialized_file.is_file():
        raise UsageError(f"there is no file '{said.serialized_file}'")
    if said.model_file and not (said.weights or said.serialized_file):
        raise UsageError("--model-file needs its weights: --serialized-file FILE, or --weights none for random ones")
    return str(said.serialized_file or said.weights or "DEFAULT")


def _model_file(path: Path | None) -> Path | None:
    """Return the user's file; UsageError where it is missing or would stand in the way of another module."""
    if path is None:
        return None
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"there is no Python file '{path}'")
    if path.stem in _OURS or path.stem in sys.stdlib_module_names:
        raise UsageError(f"a file named '{path.name}' would hide the module '{path.stem}': give it another name")
    return path


def _samples(folder: Path | None) -> Path | None:
    """Return a folder of pictures, whole; UsageError where there are none in it."""
    if folder is not None and not (folder.is_dir() and picture_files(folder)):
        raise UsageError(f"--sanity-samples: there is no folder '{folder}' with pictures in it")
    return folder and folder.resolve()


def _labels(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        return read_labels(path)
    except OSError as error:
        raise UsageError(f"the labels '{path}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"'{path}': {error}") from error


def _check_name(flag: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-.]*", name):
        raise UsageError(f"{flag} '{name}': letters, digits, '_', '-' and '.' alone, a letter or digit first")

"""The command line of scripts/archive.py, read into one frozen value."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saliency.errors import RequestError
from saliency.labels import read_labels
from saliency.logits import Choice
from saliency.methods import METHODS
from saliency.options import OPTIONS, PARAMETERS, read_defaults
from saliency.precision import PRECISIONS
from saliency.pt2 import MODES
from saliency.schema import kinds, read_one
from saliency.unpacked import DESCRIBING

WEIGHT_FILES = (".pt", ".pth", ".safetensors")
# names that are archive.py's own, or that the route decides: no defaults of requests
_TAKEN = DESCRIBING | {"explain", "seed"}
_OURS = frozenset(
    {"torch", "torchvision", "timm", "numpy", "PIL", "matplotlib", "yaml", "ts", "saliency", "saliency_handler"}
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
    compile: str | None
    precision: str
    defaults: Mapping[str, object]

    @property
    def mar(self) -> Path:
        """Return where the archive goes."""
        return self.export_path / f"{self.name}.mar"

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
    said = _parser().parse_args(words)
    _check_name("--model-name", said.model_name)
    _check_name("--version", said.version)
    if (said.arch is None) == (said.model_file is None):
        raise UsageError("give either --arch (a torchvision or timm classifier) or --model-file (your own network)")
    if said.model_file is not None and (said.num_classes is not None or said.arguments):
        raise UsageError("--num-classes and --arguments are for --arch; a network of your own takes no arguments")
    wanted = Wanted(
        name=said.model_name,
        version=said.version,
        export_path=said.export_path,
        force=said.force,
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
        compile=said.compile,
        precision=said.precision,
        defaults=_defaults({name: getattr(said, name) for name in _default_names()}),
    )
    if wanted.mar.exists() and not wanted.force:
        raise UsageError(f"'{wanted.mar}' exists; --force overwrites it")
    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="archive.py",
        description="Write a self-contained .mar that TorchServe predicts and explains with, and check it.",
        allow_abbrev=False,
    )
    _add_network(parser.add_argument_group("network"))
    _add_input(parser.add_argument_group("input (by default that of the weights)"))
    _add_archive(parser.add_argument_group("archive"))
    defaults = parser.add_argument_group("defaults of requests")
    for name, said in _default_names().items():
        defaults.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=said)
    return parser


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--arch", help="torchvision classifier, or timm:NAME")
    group.add_argument("--arguments", type=_mapping, default={}, metavar="JSON", help="for the network's builder")
    group.add_argument("--model-file", type=Path, help="Python file with your own network, one class without arguments")
    group.add_argument("--serialized-file", type=Path, help="weights of --model-file: a state dict")
    group.add_argument("--weights", help="DEFAULT, none (seeded random), a name, or a .pt, .pth, .safetensors file")
    group.add_argument("--seed", type=int, default=0, help="of random weights")
    group.add_argument("--num-classes", type=_positive, help="by default found in the weights")
    group.add_argument("--labels", type=Path, help="class names: text, one a line, or JSON")
    group.add_argument("--logits", type=_choice, help="key or position of the logits in the network's output")


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--input-size", type=_size, help="SIDE or HEIGHT,WIDTH of the network's input")
    group.add_argument("--resize", type=_sides, help="SIDE (the shorter) or HEIGHT,WIDTH, before the centre crop")
    group.add_argument("--interpolation", help="bilinear, bicubic, nearest, lanczos, …")
    group.add_argument("--mean", type=_numbers, help="one value a channel, for pixels in 0-1")
    group.add_argument("--std", type=_numbers, help="one value a channel, for pixels in 0-1")


def _add_archive(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model-name", required=True, help="name of the model and of its .mar file")
    group.add_argument("--version", default="1.0", help="1.0")
    group.add_argument("--export-path", type=Path, default=Path("model_store"), help="model_store")
    group.add_argument("-f", "--force", action="store_true", help="overwrite an archive that exists")
    group.add_argument("--workers", type=_positive, default=1, help="processes that share the cores or GPUs: 1")
    group.add_argument("--batch-size", type=_positive, default=8, help="most requests in a batch: 8")
    group.add_argument(
        "--max-batch-delay",
        type=_positive,
        default=1,
        help="ms to wait for a full batch: 1 (TorchServe takes 0 for 100)",
    )
    group.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=MODES,
        metavar="MODE",
        help=f"torch.compile: {', '.join(MODES)}",
    )
    group.add_argument("--precision", default="fp32", choices=PRECISIONS, help="that autocast computes in: fp32")


def _default_names() -> dict[str, str]:
    """Return the options and parameters whose default an archive can set, with what they are."""
    names = [*OPTIONS, *PARAMETERS]
    return {name: f"default of option '{name}'" for name in names if name not in _TAKEN}


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


def _mapping(text: str) -> dict[str, object]:
    value: object = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _choice(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _sides(text: str) -> tuple[int, ...]:
    sides = tuple(_positive(part) for part in text.split(","))
    if len(sides) > 2:
        raise ValueError
    return sides


def _size(text: str) -> tuple[int, int]:
    sides = _sides(text)
    return sides[0], sides[-1]

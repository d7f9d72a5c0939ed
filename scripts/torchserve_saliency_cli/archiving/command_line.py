"""The command line of `archive`, parsed and checked."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods import METHODS
from torchserve_saliency.model.archive import DESCRIBING
from torchserve_saliency.model.checkpoint import is_scripted
from torchserve_saliency.model.labels import read_labels
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS
from torchserve_saliency.requests.parsing import read_defaults
from torchserve_saliency.schema import option_types, read_one
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments, UsageError
from torchserve_saliency_cli.archiving.flags import add_flags, flags, spelling
from torchserve_saliency_cli.archiving.pictures import picture_files
from torchserve_saliency_cli.program import program

DESCRIPTION = "Write a self-contained archive (.mar) that TorchServe predicts and explains with, and check it."
EXAMPLES = """examples:
  %(prog)s --model-name resnet18 --arch resnet18 --weights DEFAULT
  %(prog)s --model-name x --arch timm:convnext_tiny --weights none
  %(prog)s --model-name mine --model-file net.py --serialized-file net.pt --labels labels.txt
  %(prog)s --model-name mine --serialized-file scripted.pt --labels labels.txt

Exit status: 0 if the archive was written, 1 if the network cannot be loaded or explained, 2 if an argument is wrong.
"""
# names that belong to the archive itself or are decided by the route, and so are no defaults of requests
_RESERVED = DESCRIBING | {"explain", "seed"}
# modules that the archive's worker and its self-check import, which a model file of that name would hide
_IMPORTED = frozenset(
    {
        *("torch", "torchvision", "timm", "numpy", "scipy", "skimage", "PIL", "matplotlib", "yaml", "ts", "captum"),
        *("torchserve_saliency", "torchserve_saliency_cli", "saliency_handler"),
    }
)


def read_arguments(words: Sequence[str] | None = None) -> ArchiveArguments:
    """Return the arguments of the command line.

    Raise UsageError for inconsistent arguments; argparse itself exits with status 2.
    """
    parsed = parser().parse_args(words)
    _check_name("--model-name", parsed.model_name)
    _check_name("--version", parsed.version)
    _check_network(parsed)
    values = {name: getattr(parsed, name) for name in flags(ArchiveArguments)} | {
        "model_file": _model_file(parsed.model_file),
        "weights": _weights(parsed),
        "labels": _labels(parsed.labels),
        "sanity_samples": _samples(parsed.sanity_samples),
        "defaults": _defaults({name: getattr(parsed, name) for name in default_names()}),
    }
    args = ArchiveArguments(**values)
    if args.mar.exists() and not args.force:
        raise UsageError(f"'{args.mar}' exists; --force overwrites it")
    return args


def parser() -> argparse.ArgumentParser:
    """Return the parser: a flag for each field of ArchiveArguments, and one for each option of requests."""
    made = argparse.ArgumentParser(
        prog=program("archive"),
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(made, ArchiveArguments)
    group = made.add_argument_group("defaults of requests")
    for name in default_names():
        group.add_argument(spelling(name), dest=name, metavar="VALUE", help=f"default of option '{name}'")
    return made


def default_names() -> list[str]:
    """Return the options and parameters of requests that an archive can set a default for."""
    return [name for name in dict.fromkeys([*OPTIONS, *PARAMETERS]) if name not in _RESERVED]


def _check_network(parsed: argparse.Namespace) -> None:
    """Raise UsageError unless the flags name one network and apply to it."""
    if (parsed.arch is None) == (parsed.model_file is None) and (parsed.arch or parsed.serialized_file is None):
        raise UsageError(
            "give either --arch (a torchvision or timm classifier) or --model-file (your own network), "
            "or --serialized-file alone (a TorchScript network)"
        )
    if parsed.arch is None and (parsed.num_classes is not None or parsed.arguments):
        raise UsageError("--num-classes and --arguments are for --arch; a network of your own takes no arguments")
    if parsed.arch is None and parsed.model_file is None:
        _check_scripted(parsed)


def _check_scripted(parsed: argparse.Namespace) -> None:
    """Raise UsageError unless --serialized-file is a TorchScript network and all flags apply to one."""
    if parsed.weights:
        raise UsageError("--weights is for --arch or --model-file; --serialized-file alone is a TorchScript network")
    if parsed.compile or parsed.seed:
        raise UsageError(f"--{'compile' if parsed.compile else 'seed'} does not apply to a TorchScript network")
    if parsed.serialized_file.is_file() and not is_scripted(parsed.serialized_file):
        raise UsageError(
            f"'{parsed.serialized_file}' is no TorchScript network: --arch or --model-file must say which network its "
            "weights are of (pickled modules are not read)"
        )


def _defaults(texts: Mapping[str, str | None]) -> dict[str, object]:
    """Return the given defaults, with numbers converted; raise UsageError for a wrong one."""
    given: dict[str, object] = {name: text for name, text in texts.items() if text is not None}
    try:
        read_defaults(given)
    except RequestError as error:
        raise UsageError(error.message) from error
    return {name: _plain(name, text) for name, text in given.items()}


def _plain(name: str, text: object) -> object:
    """Return a default as YAML holds it: as a number, a truth value or text."""
    option = OPTIONS[name] if name in OPTIONS else option_types(METHODS[min(PARAMETERS[name])].parameters)[name]
    value = read_one(name, option, text)
    return value if isinstance(value, bool | int | float | str) else text


def _weights(parsed: argparse.Namespace) -> str:
    """Return the name or the file of the weights, by default DEFAULT."""
    if parsed.weights and parsed.serialized_file:
        raise UsageError("--weights and --serialized-file mean the same: give one of them")
    if parsed.serialized_file and not parsed.serialized_file.is_file():
        raise UsageError(f"there is no file '{parsed.serialized_file}'")
    if parsed.model_file and not (parsed.weights or parsed.serialized_file):
        raise UsageError("--model-file needs its weights: --serialized-file FILE, or --weights none for random ones")
    return str(parsed.serialized_file or parsed.weights or "DEFAULT")


def _model_file(path: Path | None) -> Path | None:
    """Return the user's file; raise UsageError for a missing file or a name that would hide another module."""
    if path is None:
        return None
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"there is no Python file '{path}'")
    if path.stem in _IMPORTED or path.stem in sys.stdlib_module_names:
        raise UsageError(f"a file named '{path.name}' would hide the module '{path.stem}': give it another name")
    return path


def _samples(folder: Path | None) -> Path | None:
    """Return the absolute path of a folder of pictures; raise UsageError for a folder without pictures."""
    if folder is not None and not (folder.is_dir() and picture_files(folder)):
        raise UsageError(f"--sanity-samples: there is no folder '{folder}' with pictures in it")
    return folder and folder.resolve()


def _labels(path: Path | None) -> tuple[str, ...] | None:
    """Return the names in a file of labels; raise UsageError if it cannot be read."""
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
        raise UsageError(f"{flag} '{name}': only letters, digits, '_', '-' and '.', beginning with a letter or digit")

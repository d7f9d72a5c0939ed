"""The command line of `archive`, parsed and checked."""

from __future__ import annotations

import argparse
import re
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
from torchserve_saliency_cli.archiving.flags import add_flags, flags, pairs, spelling
from torchserve_saliency_cli.archiving.own_files import (
    check_folder,
    extra_files,
    handler_file,
    model_file,
    requirements_file,
)
from torchserve_saliency_cli.archiving.pictures import picture_files
from torchserve_saliency_cli.program import program

DESCRIPTION = "Write a self-contained archive (.mar) that TorchServe predicts and explains with, and check it."
EXAMPLES = """how the network is found:
  --arch NAME           a classifier of torchvision, or of timm as timm:NAME. --weights gives its weights: DEFAULT,
                        none, a published name, or a checkpoint. The number of classes, the input channels and a head
                        that replaced the original one are found in the checkpoint.
                        hf:FOLDER_OR_ID is an image classifier of Hugging Face's transformers, with its preprocessing
                        and its class names; torchhub:REPOSITORY:ENTRY one of torch.hub. openclip:NAME:WEIGHTS, and a
                        CLIP or SigLIP by hf:, compare a picture with the texts of --labels. These are written out as
                        plain PyTorch: the server needs no other package.
  --model-file FILE     your own Python file. The network is the class that is no part of another and that the weights
                        fit, or a function that returns it; --class NAME names either. --arguments JSON are its
                        arguments, --extra-files the files that it imports, --requirements-file its packages.
                        --serialized-file (or --weights) gives the weights.
  --serialized-file     alone: a TorchScript network.

  A checkpoint may hold more than weights (epochs, optimizer, arguments, an average of the weights), as PyTorch
  Lightning, timm and others write it. The mapping of names and tensors that fits the network is taken, a prefix such
  as `model.` is removed, and names that belong to a loss or a metric are left over. Of several mappings the average
  (EMA) is taken; --state KEY takes another one. No code in a checkpoint is run.

examples:
  %(prog)s --model-name resnet18 --arch resnet18 --weights DEFAULT
  %(prog)s --model-name x --arch timm:convnext_tiny --weights none
  %(prog)s --model-name vit --arch hf:google/vit-base-patch16-224
  %(prog)s --model-name leaf --arch resnet18 --weights last.ckpt --state state_dict --labels labels.txt
  %(prog)s --model-name xray --arch timm:resnet18 --weights grey.pt --mean 0.5 --std 0.5
  %(prog)s --model-name mine --model-file net.py --serialized-file net.pt --labels labels.txt
  %(prog)s --model-name mine --model-file net.py --class make_net --arguments '{"num_classes": 5}' --weights net.pt
  %(prog)s --model-name mine --model-file net.py --extra-files blocks.py,layers --serialized-file net.pt
  %(prog)s --model-name mine --serialized-file scripted.pt --labels labels.txt

Exit status: 0 if the archive was written, 1 if the network cannot be loaded or explained, 2 if an argument is wrong.
"""
# names that belong to the archive itself or are decided by the route, and so are no defaults of requests
_RESERVED = DESCRIBING | {"explain", "seed"}


def read_arguments(words: Sequence[str] | None = None) -> ArchiveArguments:
    """Return the arguments of the command line.

    Raise UsageError for inconsistent arguments; argparse itself exits with status 2.
    """
    parsed = parser().parse_args(words)
    _check_name("--model-name", parsed.model_name)
    _check_name("--version", parsed.version)
    _check_network(parsed)
    values = {name: getattr(parsed, name) for name in flags(ArchiveArguments)} | {
        "model_file": model_file(parsed.model_file),
        "handler": handler_file(parsed.handler),
        "extra_files": extra_files(
            parsed.extra_files,
            (parsed.model_file, parsed.handler, parsed.requirements_file),
            with_handler=parsed.handler is not None,
        ),
        "requirements_file": requirements_file(parsed.requirements_file),
        "check_folder": check_folder(parsed.check_folder, parsed.min_accuracy),
        "weights": _weights(parsed),
        "labels": None if _files_by_head(parsed.labels) else _labels(parsed.labels),
        "head_labels": {head: _labels(file) for head, file in _files_by_head(parsed.labels).items()},
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
    if parsed.arch is None and parsed.model_file is None:
        _check_scripted(parsed)
    if parsed.model_file and parsed.num_classes is not None:
        raise UsageError(
            "--num-classes is for --arch; a network of your own gets the arguments of its class: "
            f"--arguments '{{\"num_classes\": {parsed.num_classes}}}'"
        )
    if parsed.model_file is None and parsed.class_:
        raise UsageError("--class names a class or a function in a --model-file")
    if parsed.model_file is None and parsed.handler is None and parsed.extra_files:
        raise UsageError("--extra-files are files that a --model-file or a --handler imports")
    if parsed.arch is None and parsed.head_activation:
        raise UsageError("--head-activation is for --arch; a network of your own has its head in --model-file")


def _check_scripted(parsed: argparse.Namespace) -> None:
    """Raise UsageError unless --serialized-file is a TorchScript network and all flags apply to one."""
    if parsed.num_classes is not None or parsed.arguments:
        raise UsageError("--num-classes and --arguments are for --arch; a TorchScript network is built already")
    if parsed.state:
        raise UsageError("--state chooses weights of --arch or --model-file; a TorchScript network has its own")
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


def _samples(folder: Path | None) -> Path | None:
    """Return the absolute path of a folder of pictures; raise UsageError for a folder without pictures."""
    if folder is not None and not (folder.is_dir() and picture_files(folder)):
        raise UsageError(f"--sanity-samples: there is no folder '{folder}' with pictures in it")
    return folder and folder.resolve()


def _files_by_head(text: str | None) -> dict[str, str]:
    """Return the files of labels of a text OUTPUT=FILE,OUTPUT=FILE; it is empty if the text is the name of a file.

    Raise UsageError if an output is named twice.
    """
    try:
        return {} if text is None or Path(text).is_file() else pairs(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--labels: {error}") from error


def _labels(file: str | None) -> tuple[str, ...] | None:
    """Return the names in a file of labels; raise UsageError if it cannot be read."""
    if file is None:
        return None
    path = Path(file)
    try:
        return read_labels(path)
    except OSError as error:
        raise UsageError(f"the labels '{path}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"'{path}': {error}") from error


def _check_name(flag: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-.]*", name):
        raise UsageError(f"{flag} '{name}': only letters, digits, '_', '-' and '.', beginning with a letter or digit")

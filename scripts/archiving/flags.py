"""The flags of scripts/archive.py, and how their words are read."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields
from pathlib import Path

from saliency.options import OPTIONS, PARAMETERS
from saliency.precision import PRECISIONS
from saliency.pt2 import MODES
from saliency.unpacked import DESCRIBING, Limits

# names that are archive.py's own, or that the route decides: no defaults of requests
_TAKEN = DESCRIBING | {"explain", "seed"}


LIMITS = tuple(field.name for field in fields(Limits))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line: a flag for each part of an archive, and for each default of requests."""
    words = argparse.ArgumentParser(
        prog="archive.py",
        description="Write a self-contained .mar that TorchServe predicts and explains with, and check it.",
        allow_abbrev=False,
    )
    _add_network(words.add_argument_group("network"))
    _add_input(words.add_argument_group("input (by default that of the weights)"))
    _add_archive(words.add_argument_group("archive"))
    defaults = words.add_argument_group("defaults of requests")
    for name, said in default_names().items():
        defaults.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=said)
    return words


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--arch", help="torchvision classifier, or timm:NAME")
    group.add_argument("--arguments", type=_mapping, default={}, metavar="JSON", help="for the network's builder")
    group.add_argument("--model-file", type=Path, help="Python file with your own network, one class without arguments")
    group.add_argument("--serialized-file", type=Path, help="state dict of --model-file; alone, a TorchScript network")
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
    group.add_argument(
        "--archive-format",
        default="default",
        choices=("default", "zip-store"),
        help="default, or zip-store: weights, which hardly shrink, are written and read many times as fast",
    )
    group.add_argument(
        "--directions", type=_positive, default=5, help="that the self-check takes the output's slope along: 5"
    )
    group.add_argument("--workers", type=_positive, default=1, help="processes that share the cores or GPUs: 1")
    group.add_argument("--batch-size", type=_positive, default=8, help="most requests in a batch: 8")
    group.add_argument(
        "--max-batch-delay",
        type=_positive,
        default=1,
        help="ms to wait for a full batch: 1 (TorchServe takes 0 for 100)",
    )
    group.add_argument(
        "--response-timeout",
        type=_positive,
        default=120,
        help="seconds that TorchServe waits for a batch before it ends the worker; what is unfinished after three "
        "quarters of them is refused: 120",
    )
    group.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=MODES,
        metavar="MODE",
        help=f"torch.compile: {', '.join(MODES)}",
    )
    group.add_argument("--sanity", default="on", choices=("on", "off"), help="test what the maps depend on: on")
    group.add_argument("--sanity-samples", type=Path, metavar="FOLDER", help="pictures for it; by default generated")
    group.add_argument("--limits", type=_limits, default={}, metavar="JSON", help=f"of a request: {', '.join(LIMITS)}")
    group.add_argument("--precision", default="fp32", choices=PRECISIONS, help="that autocast computes in: fp32")


def default_names() -> dict[str, str]:
    """Return the options and parameters whose default an archive can set, with what they are."""
    names = [*OPTIONS, *PARAMETERS]
    return {name: f"default of option '{name}'" for name in names if name not in _TAKEN}


def _mapping(text: str) -> dict[str, object]:
    value: object = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def _limits(text: str) -> dict[str, object]:
    limits = _mapping(text)
    if unknown := sorted(set(limits) - set(LIMITS)):
        raise argparse.ArgumentTypeError(f"there is no '{unknown[0]}'; there are {', '.join(LIMITS)}")
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise argparse.ArgumentTypeError(f"'{name}' must be a positive whole number")
    return limits


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

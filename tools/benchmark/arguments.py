"""The benchmark's command line. The exit status is 2 if an argument is wrong or something requested does not exist."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import torch

from tools import ROOT
from tools.benchmark.equal_work import library_methods
from tools.benchmark.networks import NETWORKS
from tools.benchmark.plan import Plan
from tools.benchmark.reference_implementations import LIBRARY_METHODS, MODULES
from tools.benchmark.sections import DEFAULT_SECTIONS, IN_PROCESS, SECTIONS
from torchserve_saliency.methods import METHODS
from torchserve_saliency.model.labels import near_matches
from torchserve_saliency_cli.leaves.draw import draw

PHOTO = ROOT.parent / "shared" / "data" / "photos" / "great_grey_owl.jpg"
SIZES = (1, 4, 8, 16)


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmark", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=_names(NETWORKS, "network"), default=tuple(NETWORKS), metavar="NAMES")
    parser.add_argument("--sections", type=_names(SECTIONS, "section"), metavar="NAMES", help=_section_names())
    parser.add_argument("--methods", type=_names(METHODS, "method"), metavar="NAMES", help=_method_names())
    parser.add_argument(
        "--batch-sizes",
        type=_sizes,
        default=(1, 4, 8, 16),
        metavar="SIZES",
        help="default: 1,4,8,16 (section methods: 1,8)",
    )
    parser.add_argument("--rounds", type=_rounds, default=15, help="rounds of single requests (default: 15)")
    parser.add_argument("--long-rounds", type=_rounds, default=5, help="rounds of the other sections (default: 5)")
    parser.add_argument("--device", type=_device, default=torch.device("cpu"), help="cpu or cuda (without a server)")
    parser.add_argument("--picture", type=Path, help="default: an owl from ../shared/data, or a drawn leaf")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the report, its JSON and its plot")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures with the values of every round")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="file for the plot (PNG)")
    return parser


def read_plan(parser: argparse.ArgumentParser, args: argparse.Namespace, scratch: Path) -> Plan:
    """Return the plan. If there is no picture, one is drawn in `scratch`."""
    on_cuda = args.device.type == "cuda"
    sections = args.sections or tuple(name for name in DEFAULT_SECTIONS if name in IN_PROCESS or not on_cuda)
    if impossible := [name for name in sections if on_cuda and name not in IN_PROCESS]:
        parser.error(f"section '{impossible[0]}' needs a server, and a CUDA device is measured without one")
    if args.picture and not args.picture.is_file():
        parser.error(f"there is no picture '{args.picture}'")
    _check_libraries(parser, sections, args.methods)
    picture = args.picture or (PHOTO if PHOTO.is_file() else _draw_leaf(scratch))
    return Plan(
        networks=args.networks,
        sections=sections,
        methods=args.methods,
        batch_sizes=args.batch_sizes,
        rounds=args.rounds,
        long_rounds=args.long_rounds,
        device=args.device,
        picture=picture,
    )


def _check_libraries(
    parser: argparse.ArgumentParser, sections: tuple[str, ...], methods: tuple[str, ...] | None
) -> None:
    """Exit with status 2 if a section needs a library that lacks a method or is not installed."""
    some, every = {"captum", "memory"} & set(sections), "methods" in sections
    if missing := [name for name in methods or () if some and name not in LIBRARY_METHODS]:
        parser.error(f"the sections captum and memory have no method '{missing[0]}': {', '.join(LIBRARY_METHODS)}")
    compared = [*(methods or LIBRARY_METHODS if some else ()), *(methods or METHODS if every else ())]
    packages = {library.package for name in compared for library in library_methods(name)}
    for package in sorted(name for name in packages if find_spec(MODULES[name]) is None):
        parser.error(f"{package} is not installed, and the sections captum, memory and methods need it")


def _section_names() -> str:
    extra = ", ".join(name for name in SECTIONS if name not in DEFAULT_SECTIONS)
    return f"{', '.join(DEFAULT_SECTIONS)}, and if named, {extra}"


def _method_names() -> str:
    return f"{', '.join(LIBRARY_METHODS)}; in section methods: {', '.join(METHODS)}"


def _names(known: Iterable[str], noun: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of comma-separated names, which raises an error if a name is unknown."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        for name in names:
            if name not in tuple(known):
                near = near_matches(name, list(known)) or list(known)
                raise argparse.ArgumentTypeError(f"there is no {noun} '{name}': {', '.join(near)}")
        return names

    return read


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(part) for part in text.split(",")}))
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"a batch size must be positive, not {sizes[0]}")
    return sizes


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 2:
        raise argparse.ArgumentTypeError("at least 2 rounds are needed for quartiles")
    return rounds


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        message = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"there is no device '{text}' here: {message}") from error
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither cpu nor cuda")
    return device


def _draw_leaf(folder: Path) -> Path:
    """Write a JPEG of a drawn leaf and return its path."""
    path = folder / "leaf.jpg"
    draw(0, ["rust"]).image.resize((640, 480)).save(path, quality=90)
    return path

"""The benchmark's command line, read into a plan; what is asked for and not there exits with 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import torch

from saliency.labels import near_matches
from saliency.methods import METHODS
from scripts.bench.equal import rivals
from scripts.bench.networks import NETWORKS, ROOT
from scripts.bench.plan import Plan
from scripts.bench.rivals import MODULES, RIVALS
from scripts.bench.sections import IN_PROCESS, SECTIONS, USUAL
from scripts.leaves.draw import draw

PHOTO = ROOT.parent / "shared" / "data" / "photos" / "great_grey_owl.jpg"
SIZES = (1, 4, 8, 16)


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=_names(NETWORKS, "network"), default=tuple(NETWORKS), metavar="NAMES")
    parser.add_argument("--sections", type=_names(SECTIONS, "section"), metavar="NAMES", help=_section_names())
    parser.add_argument("--methods", type=_names(METHODS, "method"), metavar="NAMES", help=_method_names())
    parser.add_argument(
        "--batch-sizes",
        type=_sizes,
        default=(1, 4, 8, 16),
        metavar="SIZES",
        help="1,4,8,16 (methods: 1,8)",
    )
    parser.add_argument("--rounds", type=_rounds, default=15, help="of single requests: 15")
    parser.add_argument("--long-rounds", type=_rounds, default=5, help="of saturation and the libraries: 5")
    parser.add_argument("--device", type=_device, default=torch.device("cpu"), help="cpu or cuda (no server)")
    parser.add_argument("--picture", type=Path, help="by default an owl from ../shared/data, else a drawn leaf")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for benchmark.md, benchmark.json and benchmark.png")
    parser.add_argument("--json", type=Path, metavar="FILE", help="figures, with the values of every round")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG of the stages and the judged ratios")
    return parser


def read_plan(parser: argparse.ArgumentParser, args: argparse.Namespace, scratch: Path) -> Plan:
    """Return the plan, its picture drawn in `scratch` where there is none; exit 2 where one asked for is not there."""
    on_cuda = args.device.type == "cuda"
    sections = args.sections or tuple(name for name in USUAL if name in IN_PROCESS or not on_cuda)
    if lost := [name for name in sections if on_cuda and name not in IN_PROCESS]:
        parser.error(f"section '{lost[0]}' asks a server, and a CUDA device is measured without one")
    if args.picture and not args.picture.is_file():
        parser.error(f"there is no picture '{args.picture}'")
    _check_libraries(parser, sections, args.methods)
    picture = args.picture or (PHOTO if PHOTO.is_file() else _drawn(scratch))
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
    """Exit 2 where a section compares methods with a library that has not all of them, or is not installed."""
    few, every = {"captum", "memory"} & set(sections), "methods" in sections
    if lost := [name for name in methods or () if few and name not in RIVALS]:
        parser.error(f"the sections captum and memory have no method '{lost[0]}': {', '.join(RIVALS)}")
    compared = [*(methods or RIVALS if few else ()), *(methods or METHODS if every else ())]
    packages = {rival.package for name in compared for rival in rivals(name)}
    for package in sorted(name for name in packages if find_spec(MODULES[name]) is None):
        parser.error(f"{package} is not installed, and the sections captum, memory and methods compare with it")


def _section_names() -> str:
    extra = ", ".join(name for name in SECTIONS if name not in USUAL)
    return f"{', '.join(USUAL)}, and if named, {extra}"


def _method_names() -> str:
    return f"{', '.join(RIVALS)}; in section methods: {', '.join(METHODS)}"


def _names(known: Iterable[str], what: str) -> Callable[[str], tuple[str, ...]]:
    """Return the reader of a list of names, which refuses one that is not known."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        for name in names:
            if name not in tuple(known):
                near = near_matches(name, list(known)) or list(known)
                raise argparse.ArgumentTypeError(f"there is no {what} '{name}': {', '.join(near)}")
        return names

    return read


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(part) for part in text.split(",")}))
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"a batch of {sizes[0]} is none")
    return sizes


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 2:
        raise argparse.ArgumentTypeError("2 or more: a spread is printed")
    return rounds


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"there is no device '{text}' here: {said}") from error
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither cpu nor cuda")
    return device


def _drawn(folder: Path) -> Path:
    """Return the JPEG of a drawn leaf."""
    path = folder / "leaf.jpg"
    draw(0, ["rust"]).image.resize((640, 480)).save(path, quality=90)
    return path

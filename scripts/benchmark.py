"""What saliency costs: served, over a bare PyTorch loop, TorchServe's own handler, Captum and pytorch-grad-cam.

Runs alternate in an order that changes from round to round; ratios are taken round by round and come first, each
with the bound that it is held to.

    python scripts/benchmark.py --networks resnet50,squeezenet1_1 --sections latency --rounds 15
    python scripts/benchmark.py --device cuda --sections captum,memory --out build/bench

Exit status: 0 measured, 1 something failed on the way, 2 a network, method, device or picture is not there.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from scripts.settings import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # before torch reads it: the bare loop has the server's own settings

import torch
from PIL import Image

from saliency.labels import near_matches
from saliency.memory import keep_freed_memory
from saliency.precision import use_whole_float32
from scripts.bench.figures import Figure
from scripts.bench.networks import NETWORKS
from scripts.bench.plan import Plan
from scripts.bench.plot import draw as draw_figures
from scripts.bench.report import Settings, as_json, markdown
from scripts.bench.rivals import MODULES, RIVALS
from scripts.bench.sections import IN_PROCESS, SECTIONS, measure
from scripts.leaves.draw import draw as draw_leaf

PHOTO = ROOT.parent / "shared" / "data" / "photos" / "great_grey_owl.jpg"


def main(words: list[str] | None = None) -> int:
    """Measure what the command line asks for, and print and write it; return the exit status."""
    parser = _parser()
    args = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server ends with us
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as scratch:
        plan = _plan(parser, args, Path(scratch))
        settings = _settings(plan)
        keep_freed_memory()  # as the served handler does, and so is this
        use_whole_float32()
        failure = _measured(plan, figures)
    settings["load after"] = _load()
    _write(args, settings, figures)
    if failure:
        print(f"benchmark.py: {failure}", file=sys.stderr)
    return 1 if failure else 0


def _measured(plan: Plan, figures: list[Figure]) -> Exception | None:
    """Add to `figures` as they are measured; return what broke it off, None if nothing did."""
    try:
        figures.extend(measure(plan, _teller()))
    except (RuntimeError, ValueError, LookupError, OSError, subprocess.SubprocessError, HTTPException) as error:
        return error
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=_names(NETWORKS, "network"), default=tuple(NETWORKS), metavar="NAMES")
    parser.add_argument("--sections", type=_names(SECTIONS, "section"), metavar="NAMES", help=", ".join(SECTIONS))
    parser.add_argument("--methods", type=_names(RIVALS, "method"), metavar="NAMES", help=", ".join(RIVALS))
    parser.add_argument("--batch-sizes", type=_sizes, default=(1, 4, 8, 16), metavar="SIZES", help="1,4,8,16")
    parser.add_argument("--rounds", type=_rounds, default=15, help="of single requests: 15")
    parser.add_argument("--long-rounds", type=_rounds, default=5, help="of saturation and the libraries: 5")
    parser.add_argument("--device", type=_device, default=torch.device("cpu"), help="cpu or cuda (no server)")
    parser.add_argument("--picture", type=Path, help="by default an owl from ../shared/data, else a drawn leaf")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for benchmark.md, benchmark.json and benchmark.png")
    parser.add_argument("--json", type=Path, metavar="FILE", help="figures, with the values of every round")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG of the stages and the judged ratios")
    return parser


def _plan(parser: argparse.ArgumentParser, args: argparse.Namespace, scratch: Path) -> Plan:
    """Return the plan; the parser's exit 2 where something asked for is not there."""
    on_cuda = args.device.type == "cuda"
    sections = args.sections or (IN_PROCESS if on_cuda else tuple(SECTIONS))
    if lost := [name for name in sections if on_cuda and name not in IN_PROCESS]:
        parser.error(f"section '{lost[0]}' asks a server, and a CUDA device is measured without one")
    if args.picture and not args.picture.is_file():
        parser.error(f"there is no picture '{args.picture}'")
    if {"captum", "memory"} & set(sections):
        libraries = {rival.library for name in args.methods or RIVALS for rival in RIVALS[name]}
        for library in sorted(name for name in libraries if find_spec(MODULES[name]) is None):
            parser.error(f"{library} is not installed, and the sections captum and memory compare with it")
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
    draw_leaf(0, ["rust"]).image.resize((640, 480)).save(path, quality=90)
    return path


def _settings(plan: Plan) -> dict[str, object]:
    """Return what the figures depend on."""
    with Image.open(plan.picture) as image:
        picture = f"{plan.picture.name}, {image.width} × {image.height}, {plan.picture.stat().st_size:,} bytes"
    gpu = torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else ""
    return {
        "networks": ", ".join(f"{n} ({'random' if NETWORKS[n].weights == 'none' else 'real'})" for n in plan.networks),
        "picture": picture,
        "device": f"{plan.device} {gpu}".strip(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "GOMP_SPINCOUNT": os.environ["GOMP_SPINCOUNT"],
        "rounds": f"{plan.rounds}, of saturation and the libraries {plan.long_rounds}",
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "load before": _load(),
    }


def _load() -> str:
    """Return how many processes wanted the cores over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _teller() -> Callable[[str], None]:
    """Return what says on stderr what is under way, and since when."""
    began = time.monotonic()
    return lambda said: print(f"[{time.monotonic() - began:6.0f} s] {said}", file=sys.stderr, flush=True)


def _write(args: argparse.Namespace, settings: Settings, figures: list[Figure]) -> None:
    """Print the report, and write what was asked for."""
    text = markdown(settings, figures)
    print(text)
    out: Path | None = args.out
    files = {
        out and out / "benchmark.md": text,
        out and out / "benchmark.json": as_json(settings, figures),
        args.json: as_json(settings, figures),
    }
    for path, content in files.items():
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    for path in filter(None, (out and out / "benchmark.png", args.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_figures(figures, f"{settings['picture']}; {settings['device']}, {settings['threads']} threads", path)


if __name__ == "__main__":
    sys.exit(main())

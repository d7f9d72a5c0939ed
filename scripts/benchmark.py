"""What saliency costs: served, over a bare PyTorch loop, TorchServe's own handler, Captum and pytorch-grad-cam.

Runs alternate in an order that changes from round to round; ratios are taken round by round and come first, each
with the bound that it is held to.

    python scripts/benchmark.py --networks resnet50,squeezenet1_1 --sections latency --rounds 15
    python scripts/benchmark.py --device cuda --sections captum,memory --out build/bench
    python scripts/benchmark.py --networks squeezenet1_1 --sections methods --long-rounds 2

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
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from scripts.settings import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # before torch reads it: the bare loop has the server's own settings

import torch
from PIL import Image

from saliency.memory import keep_freed_memory
from saliency.precision import use_whole_float32
from scripts.bench.arguments import argument_parser, read_plan
from scripts.bench.figures import Figure
from scripts.bench.networks import NETWORKS
from scripts.bench.plan import Plan
from scripts.bench.plot import draw
from scripts.bench.report import Settings, as_json, markdown
from scripts.bench.sections import measure


def main(words: list[str] | None = None) -> int:
    """Measure what the command line asks for, and print and write it; return the exit status."""
    parser = argument_parser(__doc__)
    args = parser.parse_args(words)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as scratch:
        plan = read_plan(parser, args, Path(scratch))
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
        draw(figures, f"{settings['picture']}; {settings['device']}, {settings['threads']} threads", path)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server ends with us
    sys.exit(main())

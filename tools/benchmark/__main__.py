"""Compare the saliency handler with a bare PyTorch loop, TorchServe's default handler, Captum and pytorch-grad-cam.

Each round executes every run once, in a different order. Ratios are computed within a round. Those with a bound come
first in the report.

    python -m tools.benchmark --networks resnet50,squeezenet1_1 --sections latency --rounds 15
    python -m tools.benchmark --device cuda --sections captum,memory --out build/bench
    python -m tools.benchmark --networks squeezenet1_1 --sections methods --long-rounds 2

Exit status: 0 if everything was measured, 1 if an error stopped the benchmark, 2 if an argument is wrong, for example
if a network, method, device or picture does not exist.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
from http.client import HTTPException
from pathlib import Path

from torchserve_saliency_cli.torchserve.properties import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # must be set before torch is imported; the server has the same setting

import torch
from PIL import Image
from tqdm import tqdm

from tools.benchmark.arguments import argument_parser, read_plan
from tools.benchmark.measurements import Figure
from tools.benchmark.networks import NETWORKS
from tools.benchmark.plan import Plan
from tools.benchmark.plot import draw
from tools.benchmark.report import Settings, as_json, markdown
from tools.benchmark.sections import measure
from torchserve_saliency.engine.worker import keep_freed_memory, use_whole_float32


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, print and write its report, and return the exit status."""
    parser = argument_parser(__doc__)
    args = parser.parse_args(arguments)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as scratch:
        plan = read_plan(parser, args, Path(scratch))
        settings = _settings(plan)
        keep_freed_memory()  # the served handler does so too
        use_whole_float32()
        failure = _collect(plan, figures)
    settings["load after"] = _load()
    _write(args, settings, figures)
    if failure:
        print(f"{parser.prog}: {failure}", file=sys.stderr)
    return 1 if failure else 0


def _collect(plan: Plan, figures: list[Figure]) -> Exception | None:
    """Add the figures to `figures` as they are measured. Return the error that stopped the benchmark, or None."""
    try:
        with tqdm(total=len(plan.networks) * len(plan.sections), unit="section") as bar:
            figures.extend(measure(plan, bar))
    except (RuntimeError, ValueError, LookupError, OSError, subprocess.SubprocessError, HTTPException) as error:
        return error
    return None


def _settings(plan: Plan) -> dict[str, object]:
    """Return the settings that the figures depend on."""
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
        "rounds": f"{plan.rounds} (saturation and libraries {plan.long_rounds})",
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "load before": _load(),
    }


def _load() -> str:
    """Return the average load of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _write(args: argparse.Namespace, settings: Settings, figures: list[Figure]) -> None:
    """Print the report and write the requested files."""
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    sys.exit(main())

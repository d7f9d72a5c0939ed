"""What a served explanation costs over the barest PyTorch loop, and what TorchServe's own handler takes beside it.

Ratios come first, each taken within one round of neighbouring runs whose order changes from round to round.

python scripts/benchmark.py --arch resnet50 --picture owl.jpg --rounds 15
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "handlers")]

from scripts.settings import SPINS

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # before torch reads it: the bare loop has the server's own settings

import torch

from saliency.explainer import Explainer
from saliency.image import decode
from saliency.request import Message, Query, read_query
from saliency.response import encode
from scripts.leaves.draw import draw
from scripts.server import TorchServe

Seconds = dict[str, list[float]]
RATIOS = {
    "engine, decoding and encoding included / bare loop + decoding": ("engine", "bare loop + decoding"),
    "served explanation / bare loop + decoding": ("served explanation", "bare loop + decoding"),
    "served explanation / served prediction": ("served explanation", "served prediction"),
    "served prediction / default handler's prediction": ("served prediction", "default prediction"),
    "default handler's explanation / served explanation": ("default explanation", "served explanation"),
    "default handler's explanation (IG-15) / the same served": ("default explanation", "served IG-15"),
}
# the model file that TorchServe's own handler wants: exactly one class, without arguments
DEFAULT_MODEL = """
import torch
import torchvision


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torchvision.models.get_model({arch!r}, weights=None)

    def forward(self, x):
        return self.inner(x)
"""


def bare_loop(explainer: Explainer, data: bytes) -> Callable[[], None]:
    """Return the least that PyTorch can do for a prediction and its input gradient, decoding before it."""
    model = explainer.classifier

    def run() -> None:
        picture = decode(data, model.input, model.limits.max_pixels)
        x = picture.tensor[None].to(model.device).contiguous(memory_format=model.memory_format).requires_grad_()
        logits = model.network(x)
        torch.autograd.grad(logits[0, logits[0].argmax()], x)[0].cpu()

    return run


def engine(explainer: Explainer, data: bytes) -> Callable[[], None]:
    """Return a whole explanation in this process: read, decode, explain, encode."""

    def run() -> None:
        query: Query = read_query(Message({"data": data}, explain=True), explainer.classifier)
        (outcome,) = explainer.begin([query]).forward().finish()
        encode(outcome, explainer.classifier.limits.max_response_bytes)  # type: ignore[arg-type]

    return run


def served(server: TorchServe, route: str, data: bytes, tail: str = "") -> Callable[[], None]:
    """Return one request over HTTP, which must succeed."""

    def run() -> None:
        reply = server.request("POST", f"/{route}{tail}", data)
        if reply.status != 200:
            raise RuntimeError(f"{route} was answered with {reply.status}: {reply.body[:300]!r}")

    return run


def measured(runs: Mapping[str, Callable[[], None]], rounds: int) -> Seconds:
    """Return the seconds of each run in each round; the order changes from round to round."""
    order = list(runs)
    seconds: Seconds = {name: [] for name in runs}
    shuffler = random.Random(0)
    for number in range(rounds + 2):
        shuffler.shuffle(order)
        for name in order:
            began = time.perf_counter()
            runs[name]()
            if number >= 2:  # the first two rounds warm up
                seconds[name].append(time.perf_counter() - began)
    return seconds


def summary(values: list[float]) -> str:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:8.3f}   [{low:.3f}, {high:.3f}]"


def archive(arch: str, weights: str, store: Path) -> Path:
    """Return the archive of a network, written by scripts/archive.py."""
    flags = ["--model-name", "model", "--arch", arch, "--weights", weights, "--export-path", str(store)]
    subprocess.run([sys.executable, ROOT / "scripts" / "archive.py", *flags], check=True)
    return store / "model.mar"


def default_archive(arch: str, ours: Path, store: Path) -> None:
    """Archive the same network with the same weights for TorchServe's `image_classifier` handler."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(ours) as packed:
        packed.extractall(folder)
        serialized = json.loads(Path(folder, "MAR-INF", "MANIFEST.json").read_text())["model"]["serializedFile"]
        state = torch.load(Path(folder, serialized), weights_only=True)
        weights, model_file = Path(folder, "default.pt"), Path(folder, "network.py")
        torch.save({f"inner.{name}": value for name, value in state.items()}, weights)
        model_file.write_text(DEFAULT_MODEL.format(arch=arch))
        flags = ["--model-name", "default", "--version", "1.0", "--handler", "image_classifier"]
        flags += ["--serialized-file", str(weights), "--model-file", str(model_file), "--export-path", str(store)]
        flags += ["--extra-files", str(Path(folder, "index_to_name.json"))]
        archiver = [sys.executable, "-m", "model_archiver.model_packaging"]
        subprocess.run([*archiver, *flags], check=True, env={**os.environ, "TMPDIR": folder})


def picture(path: Path | None) -> bytes:
    """Return the bytes of a picture, of a drawn leaf where none is named."""
    if path:
        return path.read_bytes()
    buffer = io.BytesIO()
    draw(0, ["rust"]).image.resize((640, 480)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def settings(args: argparse.Namespace) -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "arch": args.arch,
        "weights": args.weights,
        "rounds": args.rounds,
        "threads": torch.get_num_threads(),
        "spins": os.environ["GOMP_SPINCOUNT"],
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "cpu",
    }


def compare(args: argparse.Namespace) -> dict[str, object]:
    """Return settings, ratios and milliseconds of one run."""
    data = picture(args.picture)
    with tempfile.TemporaryDirectory() as store:
        ours = archive(args.arch, args.weights, Path(store))
        explainer = Explainer.load(ours)
        default_archive(args.arch, ours, Path(store))
        with TorchServe(Path(store)) as server:
            runs = {
                "bare loop + decoding": bare_loop(explainer, data),
                "engine": engine(explainer, data),
                "served explanation": served(server, "explanations/model", data),
                "served prediction": served(server, "predictions/model", data),
                "served IG-15": served(server, "explanations/model", data, "/1.0/method=integrated_gradients&steps=15"),
                "default prediction": served(server, "predictions/default", data),
                "default explanation": served(server, "explanations/default", data),
            }
            size = len(server.request("POST", "/explanations/model", data).body)
            seconds = measured(runs, args.rounds)
    ratios = {name: [x / y for x, y in zip(seconds[a], seconds[b], strict=True)] for name, (a, b) in RATIOS.items()}
    return {"settings": settings(args), "ratios": ratios, "seconds": seconds, "answer_bytes": size}


def report(result: Mapping[str, object]) -> None:
    """Print ratios, then milliseconds: median [quartiles]."""
    print(", ".join(f"{k} {v}" for k, v in dict(result["settings"]).items()))  # type: ignore[call-overload]
    for name, values in dict(result["ratios"]).items():  # type: ignore[call-overload]
        print(f"{summary(values)}   {name}")
    for name, values in dict(result["seconds"]).items():  # type: ignore[call-overload]
        print(f"{summary([1000 * v for v in values])}   ms {name}")
    print(f"{result['answer_bytes']} bytes in the default answer")


def main(words: list[str] | None = None) -> int:
    """Run the comparison of the command line; return the exit status, 2 for a network or picture that is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(words)
    if args.rounds < 2:
        parser.error("--rounds must be 2 or more: a spread is printed")
    if args.picture and not args.picture.is_file():
        parser.error(f"there is no picture '{args.picture}'")
    try:
        result = compare(args)
    except subprocess.CalledProcessError as error:  # the archiver has said what is wrong
        return error.returncode
    report(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

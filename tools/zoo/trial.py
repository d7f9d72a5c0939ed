"""The trial of one network: write its archive, load it into the handler, and explain a picture."""

from __future__ import annotations

import io
import re
import resource
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from torch import nn

from tools.zoo.in_process_server import explain, load_handler
from tools.zoo.networks import input_arguments
from tools.zoo.outcomes import check_refusal
from tools.zoo.results import Result, failed, not_archived
from torchserve_saliency.engine.hooks import captured
from torchserve_saliency.errors import error_summary
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.layers import to_grid
from torchserve_saliency_cli import archive
from torchserve_saliency_cli.leaves.draw import draw

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


class Stages:
    """Measures the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of the context."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


def run_trial(network: str) -> Result:
    """Return the result of one network. If an exception is raised, all cells are bad."""
    stages = Stages()
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, stages.stage("all"):
        try:
            result = _try(network, Path(folder), stages)
        except Exception as error:
            result = failed(network, error_summary(error))
    seconds = {**stages.seconds, "processor": _processor_seconds()}
    return Result(**{**vars(result), "seconds": seconds, "peak_bytes": _peak_bytes()})


def _try(network: str, folder: Path, stages: Stages) -> Result:
    with stages.stage("archive"):
        status, output = write_archive(network, folder)
    if status:
        refused = status == 1 and not output.startswith(archive.BROKE_OFF)
        return not_archived(network, output) if refused else failed(network, f"archive: {output}")
    with stages.stage("load"):
        handler, context = load_handler(folder / "model")
    classifier = handler.explainer.classifier
    with stages.stage("explain"):
        cells = explain(handler, context, picture())
    relus = _relus(classifier)
    return Result(
        network=network,
        cells={method: check_refusal(cell, relus, classifier.layers.names) for method, cell in cells.items()},
        parameters=sum(parameter.numel() for parameter in classifier.network.parameters()),
        input=classifier.input.size,
        layer=classifier.layers.default,
        grid=_grid(classifier),
        versions={name: version(name) for name in _PACKAGES},
    )


def write_archive(network: str, folder: Path) -> tuple[int, str]:
    """Run `torchserve-saliency archive` and unpack the archive to `folder`/model. Return exit status and output."""
    arguments = ["--model-name", "zoo", "--arch", network, "--weights", "none", "--export-path", str(folder)]
    arguments += ["--archive-format", "zip-store", "--directions", "2", "--sanity", "off", "--batch-size", "1"]
    arguments += input_arguments(network)
    output = io.StringIO()
    with redirect_stderr(output), redirect_stdout(output):
        try:
            status = archive.main(arguments)
        except SystemExit as error:
            status = int(cast(int, error.code))
    mar = folder / "zoo.mar"
    if status == 0:
        with zipfile.ZipFile(mar) as packed:
            packed.extractall(folder / "model")
        mar.unlink()
    return status, re.sub(r"^[^:\n]*: refused: ", "", output.getvalue().strip())


def picture() -> bytes:
    """Return a JPEG of a seeded drawn leaf with rust and scab, 448 by 336 pixels."""
    file = io.BytesIO()
    draw(4, ["rust", "scab"]).image.resize((448, 336)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _relus(classifier: Classifier) -> list[str]:
    """Return the names of the ReLU modules that are called in a forward pass."""
    called: list[str] = []
    with ExitStack() as hooks, torch.no_grad():
        for name, module in classifier.network.named_modules():
            if isinstance(module, (nn.ReLU, nn.ReLU6)):
                hooks.callback(module.register_forward_hook(lambda *_, n=name: called.append(n)).remove)
        classifier.forward(torch.zeros(1, classifier.input.channels, *classifier.input.size))
    return called


def _grid(classifier: Classifier) -> tuple[int, ...]:
    """Return channels, height and width of the default CAM layer's output, or nothing if there is no such layer."""
    if classifier.layers.default is None:
        return ()
    x = torch.zeros(1, classifier.input.channels, *classifier.input.size)
    with torch.enable_grad(), captured(classifier.network, [classifier.layers.default], cut=True) as outputs:
        classifier.forward(x)
    grid = to_grid(outputs[classifier.layers.default], classifier.input.size)
    return () if grid is None else tuple(grid.shape[1:])


def _processor_seconds() -> float:
    """Return the processor time of this process and its children in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in usages), 2)


def _peak_bytes() -> int:
    """Return the larger of the peak memory of this process and that of its children, in bytes."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, children) * 1024

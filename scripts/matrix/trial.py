"""One network: archived by scripts/archive.py, loaded by the handler, asked through it."""

from __future__ import annotations

import io
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

from saliency.errors import said
from saliency.layers import to_grid
from saliency.model import Classifier
from saliency.taps import captured
from scripts import archive
from scripts.leaves.draw import draw
from scripts.matrix.cells import doubted
from scripts.matrix.networks import input_words
from scripts.matrix.results import Result, failed, not_archived
from scripts.matrix.served import explained, loaded

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


class Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


def tried(network: str) -> Result:
    """Return the result of one network; whatever goes wrong becomes bad cells."""
    stages = Stages()
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, stages.stage("all"):
        try:
            result = _tried(network, Path(folder), stages)
        except Exception as error:
            result = failed(network, said(error))
    seconds = {**stages.seconds, "processor": _processor_seconds()}
    return Result(**{**vars(result), "seconds": seconds, "peak_bytes": _peak_bytes()})


def _tried(network: str, folder: Path, stages: Stages) -> Result:
    with stages.stage("archive"):
        status, words = archived(network, folder)
    if status:
        refused = status == 1 and not words.startswith(archive.BROKE_OFF)
        return not_archived(network, words) if refused else failed(network, f"archive.py: {words}")
    with stages.stage("load"):
        handler, context = loaded(folder / "model")
    classifier = handler.explainer.classifier
    with stages.stage("explain"):
        cells = explained(handler, context, picture())
    rectifiers = _rectifiers(classifier)
    return Result(
        network=network,
        cells={method: doubted(cell, rectifiers, classifier.layers.names) for method, cell in cells.items()},
        parameters=sum(parameter.numel() for parameter in classifier.network.parameters()),
        input=classifier.input.size,
        layer=classifier.layers.default,
        grid=_grid(classifier),
        versions={name: version(name) for name in _PACKAGES},
    )


def archived(network: str, folder: Path) -> tuple[int, str]:
    """Return the command's exit status and what it said; the archive is unpacked in `folder` / model."""
    words = ["--model-name", "zoo", "--arch", network, "--weights", "none", "--export-path", str(folder)]
    words += ["--archive-format", "zip-store", "--directions", "2", "--sanity", "off", "--batch-size", "1"]
    words += input_words(network)
    told = io.StringIO()
    with redirect_stderr(told), redirect_stdout(told):
        try:
            status = archive.main(words)
        except SystemExit as end:
            status = int(cast(int, end.code))
    mar = folder / "zoo.mar"
    if status == 0:
        with zipfile.ZipFile(mar) as packed:
            packed.extractall(folder / "model")
        mar.unlink()
    return status, told.getvalue().strip().removeprefix("archive.py: refused: ")


def picture() -> bytes:
    """Return a JPEG of a drawn leaf with rust and scab, seeded, 448 by 336."""
    file = io.BytesIO()
    draw(4, ["rust", "scab"]).image.resize((448, 336)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _rectifiers(classifier: Classifier) -> list[str]:
    """Return the names of the ReLU modules that a pass runs through."""
    ran: list[str] = []
    kinds = (nn.ReLU, nn.ReLU6)
    with ExitStack() as hooks, torch.no_grad():
        for name, module in classifier.network.named_modules():
            if isinstance(module, kinds):
                hooks.callback(module.register_forward_hook(lambda *_, n=name: ran.append(n)).remove)
        classifier.forward(torch.zeros(1, classifier.input.channels, *classifier.input.size))
    return ran


def _grid(classifier: Classifier) -> tuple[int, ...]:
    """Return channels, height and width of the default layer's grid; nothing where there is none."""
    if classifier.layers.default is None:
        return ()
    x = torch.zeros(1, classifier.input.channels, *classifier.input.size)
    with torch.enable_grad(), captured(classifier.network, [classifier.layers.default], cut=True) as found:
        classifier.forward(x)
    grid = to_grid(found[classifier.layers.default], classifier.input.size)
    return () if grid is None else tuple(grid.shape[1:])


def _processor_seconds() -> float:
    """Return what this process, and those that it started, have had of processors."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in spent), 2)


def _peak_bytes() -> int:
    """Return the most memory that this process, or one that it started, has held."""
    own, started = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, started) * 1024

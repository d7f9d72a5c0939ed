"""Archives of classifiers of published sizes with random weights: their size, and times beside transformers itself."""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image

from tools.cases.workshop import Workshop
from tools.huggingface.networks import patterns_of_norms
from tools.zoo.trial import picture
from torchserve_saliency.images.decoding import read

_REPEATS = 7
# by the prefix of the classes of transformers: arguments of a configuration that is ViT-B/16, Swin-T, ...
NETWORKS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "ViT": {"num_labels": 1000},
        "Swin": {"num_labels": 1000},
        "ConvNext": {"num_labels": 1000},
        "ResNet": {"num_labels": 1000},
    }
)


@dataclass(frozen=True)
class Sizes:
    """The measurements of a network.

    Megabytes of the archive and of model.safetensors, seconds to archive without the sanity test, seconds to load it
    into the handler and to load network and processor by transformers, and the median milliseconds of the default
    explanation by the handler (from the bytes of a picture to the body) and of preprocessing, forward and backward
    pass by transformers.
    """

    archive_mb: float
    weights_mb: float
    archive_s: float
    load_s: float
    their_load_s: float
    explain_ms: float
    their_explain_ms: float


def measure(name: str) -> Sizes:
    """Return the measurements of an architecture."""
    package = importlib.import_module("transformers")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _save(package, name, folder / "network")
        workshop = Workshop(folder)
        archived, archive_s = _timed(lambda: workshop.archive("--arch", f"hf:{folder}/network", "--directions", "1"))
        handler, load_s = _timed(lambda: workshop.handler(archived))
        theirs, their_load_s = _timed(lambda: _loaded(package, folder / "network"))
        ours = lambda: handler.ask({"data": picture()})  # noqa: E731
        ours_ms, theirs_ms = _alternating(ours, lambda: _gradient(*theirs))
        return Sizes(
            *(archived.path.stat().st_size / 1e6, (folder / "network" / "model.safetensors").stat().st_size / 1e6),
            *(archive_s, load_s, their_load_s, ours_ms, theirs_ms),
        )


def _save(package: Any, name: str, folder: Path) -> None:
    torch.manual_seed(0)
    network = getattr(package, f"{name}ForImageClassification")(getattr(package, f"{name}Config")(**NETWORKS[name]))
    patterns_of_norms(network, 224)
    network.save_pretrained(folder)
    package.ViTImageProcessor().save_pretrained(folder)


def _loaded(package: Any, folder: Path) -> tuple[Any, Any]:
    network = package.AutoModelForImageClassification.from_pretrained(folder).eval().requires_grad_(False)
    return network, package.AutoImageProcessor.from_pretrained(folder)


def _gradient(network: Any, processor: Any) -> Image.Image | torch.Tensor:
    x = processor(read(picture(), 10**8), return_tensors="pt")["pixel_values"].requires_grad_()
    network(pixel_values=x).logits[0].max().backward()
    return x.grad.abs().amax(1)  # type: ignore[no-any-return]


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def _alternating(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return the median milliseconds of two functions that are called in turns."""
    times = [(_timed(ours)[1], _timed(theirs)[1]) for _ in range(_REPEATS + 1)]
    a, b = zip(*times[1:], strict=True)
    return 1000 * statistics.median(a), 1000 * statistics.median(b)

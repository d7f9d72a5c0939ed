"""An unpacked archive to a ready classifier: frozen, folded, and all that is known of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from saliency.errors import ModelError
from saliency.folding import fold_batch_norms
from saliency.formats import choose_memory_format
from saliency.image import InputSpec
from saliency.labels import Labels, read_labels
from saliency.layers import Layers, find_layers
from saliency.logits import Choice, find_logits, take_logits
from saliency.networks import build_network, own_network
from saliency.rules import count_rectifiers
from saliency.weights import fill, read_state

logger = logging.getLogger(__name__)
# the keys of section `handler` that describe the network; every other one is an option's default
DESCRIBING = frozenset({"arch", "arguments", "logits", "input", "limits"})


@dataclass(frozen=True)
class Limits:
    """What may be spent: pixels a picture, bytes an answer, targets a request, rows and bytes a batch."""

    max_pixels: int = 50_000_000
    max_response_bytes: int = 6_553_500
    max_targets: int = 20
    max_batch_rows: int = 64
    memory_bytes: int = 2 << 30


@dataclass(frozen=True)
class Classifier:
    """A network that is ready (in eval mode, frozen, on its device), and all that is known of it."""

    name: str
    version: str
    network: nn.Module
    device: torch.device
    memory_format: torch.memory_format
    labels: Labels
    input: InputSpec
    layers: Layers
    rectifiers: int
    logits: Choice = None
    folded: int = 0
    defaults: Mapping[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    self_check: Mapping[str, object] = field(default_factory=dict)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [n, K] of inputs [n, C, H, W]."""
        return take_logits(self.network(x), self.logits)


@dataclass(frozen=True)
class _Archive:
    """What an unpacked archive says of itself."""

    directory: Path
    manifest: Mapping[str, Any]
    handler: Mapping[str, Any]

    @property
    def input(self) -> InputSpec:
        """Return the preprocessing; ModelError where it is not InputSpec's."""
        given: Mapping[str, Any] = self.handler.get("input") or {}
        _known_keys("input", given, InputSpec)
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        try:
            return InputSpec(**values)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the archive's preprocessing is wrong: {error}") from error

    @property
    def limits(self) -> Limits:
        given = self.handler.get("limits") or {}
        _known_keys("limits", given, Limits)
        return Limits(**{key: int(value) for key, value in given.items()})

    @property
    def defaults(self) -> dict[str, object]:
        return {key: value for key, value in self.handler.items() if key not in DESCRIBING}

    def network(self) -> nn.Module:
        """Return the archived network with its weights."""
        if model_file := self.manifest.get("modelFile"):
            network = own_network(self.directory / Path(model_file).name)
        else:
            network = build_network(self.handler["arch"], self.handler.get("arguments") or {}, self.directory)
        fill(network, read_state(self.directory / self.manifest["serializedFile"]))
        return network

    def labels(self, classes: int) -> Labels:
        """Return `classes` names, completed by their indices where the archive holds too few."""
        path = self.directory / "index_to_name.json"
        names = read_labels(path) if path.is_file() else ()
        if path.is_file() and len(names) != classes:
            logger.warning("%d labels for %d classes: the rest are named by their index", len(names), classes)
        return Labels((*names, *map(str, range(len(names), classes)))[:classes])

    def self_check(self) -> Mapping[str, object]:
        path = self.directory / "self_check.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def load_classifier(directory: Path, device: torch.device, fold: bool = True, channels_last: bool = True) -> Classifier:
    """Return the classifier of an unpacked archive, tried out on `device`; ModelError says why not."""
    archive = _read_archive(directory)
    network = frozen(archive.network()).to(device)
    choice, classes = dry_run(network, archive.input, archive.handler.get("logits"))

    def forward(x: Tensor) -> Tensor:
        return take_logits(network(x), choice)

    pair = _noise(archive.input, 2).to(device)
    example = pair[:1]
    folded = fold_batch_norms(network, forward, example) if fold else 0
    memory_format = choose_memory_format(network, forward, pair) if channels_last else torch.contiguous_format
    return Classifier(
        name=archive.manifest["modelName"],
        version=str(archive.manifest.get("modelVersion", "1.0")),
        network=network,
        device=device,
        memory_format=memory_format,
        labels=archive.labels(classes),
        input=archive.input,
        layers=find_layers(network, forward, example),
        rectifiers=count_rectifiers(forward, example),
        logits=choice,
        folded=folded,
        defaults=archive.defaults,
        limits=archive.limits,
        self_check=archive.self_check(),
    )


def frozen(network: nn.Module) -> nn.Module:
    """Return the network in eval mode and float32, its parameters asking for no gradient."""
    return network.eval().requires_grad_(False).float()


def dry_run(
    network: nn.Module, spec: InputSpec, wanted: Choice = None, labels: int | None = None
) -> tuple[Choice, int]:
    """Return where the logits stand in what `network` makes of two pictures, and how many classes there are.

    Of several outputs that could be logits, the one with as many classes as there are `labels` is taken. ModelError
    where the network fails or puts out no logits.
    """
    pair = _noise(spec, 2).to(next(network.parameters(), torch.empty(0)).device)
    try:
        with torch.no_grad():
            output: object = network(pair)
    except Exception as error:
        raise ModelError(f"the network fails on an input {list(pair.shape)}: {_said(error)}") from error
    choice = find_logits(output, len(pair), wanted, labels)
    return choice, take_logits(output, choice).shape[1]


def _read_archive(directory: Path) -> _Archive:
    try:
        manifest = json.loads((directory / "MAR-INF" / "MANIFEST.json").read_text(encoding="utf-8"))["model"]
        config = yaml.safe_load((directory / manifest.get("configFile", "model-config.yaml")).read_text("utf-8"))
        return _Archive(directory, manifest, config["handler"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ModelError(f"this is no archive of scripts/archive.py: {error}") from error


def _noise(spec: InputSpec, rows: int) -> Tensor:
    """Return seeded noise [rows, C, H, W] of the kind that a network expects to see."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, spec.channels, *spec.size, generator=generator)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}"


def _known_keys(section: str, given: Mapping[str, object], schema: type) -> None:
    known = {f.name for f in fields(schema)}
    if unknown := sorted(set(given) - known):
        raise ModelError(f"section '{section}' of the archive's configuration has no '{unknown[0]}'")

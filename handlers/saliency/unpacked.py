"""What an unpacked archive says of itself: its files and its configuration, each part read when it is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from saliency.errors import ModelError
from saliency.image import InputSpec
from saliency.labels import Labels, read_labels
from saliency.networks import build_network, own_network, scripted_network
from saliency.precision import known_precision
from saliency.pt2 import compile_options
from saliency.weights import fill, read_state

logger = logging.getLogger(__name__)
# the keys of section `handler` that describe the network; every other one is an option's default
DESCRIBING = frozenset({"arch", "arguments", "logits", "input", "limits", "precision"})

RESPONSE_TIMEOUT = 120  # seconds that TorchServe waits for a batch by default before it ends the worker
CPU_ROWS = 16  # a CPU takes a row of 64 two to three times as long: activations outgrow its caches and the allocator


@dataclass(frozen=True)
class Limits:
    """What may be spent: bytes an answer; pixels, passes, seconds a request; targets a picture; rows, bytes a batch.

    A request that would pass `max_forwards` pictures through the network, or take `max_seconds`, is not begun. Nothing
    of a batch is begun after `max_batch_seconds`; by default, three quarters of the archive's responseTimeout. A
    request by KServe's protocols holds `max_instances` pictures at most, and each may spend an equal share.
    """

    max_pixels: int = 50_000_000
    max_response_bytes: int = 6_553_500
    max_targets: int = 20
    max_forwards: int = 5_000
    max_seconds: float = 60
    max_batch_seconds: int = 90
    max_instances: int = 32
    max_batch_rows: int = 64
    memory_bytes: int = 2 << 30

    def shared(self, pictures: int) -> Limits:
        """Return the limits of each of the pictures of one request: pixels, passes and seconds are the request's."""
        pixels, forwards = self.max_pixels // pictures, self.max_forwards // pictures
        seconds = self.max_seconds / pictures
        return replace(self, max_pixels=pixels, max_forwards=forwards, max_seconds=seconds)

    def rows(self, device: torch.device) -> int:
        """Return the most rows of a batch on a device, whatever fits its memory."""
        return min(self.max_batch_rows, CPU_ROWS) if device.type == "cpu" else self.max_batch_rows


@dataclass(frozen=True)
class Unpacked:
    """An unpacked archive; a part that is wrong is a ModelError when it is asked for."""

    directory: Path
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    handler: Mapping[str, Any]

    @property
    def input(self) -> InputSpec:
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
        limits = Limits(**{key: int(value) for key, value in given.items()})
        if "max_batch_seconds" not in given:
            timeout = float(self.config.get("responseTimeout") or RESPONSE_TIMEOUT)
            limits = replace(limits, max_batch_seconds=max(1, int(0.75 * timeout)))
        return replace(limits, max_seconds=min(limits.max_seconds, limits.max_batch_seconds))

    @property
    def defaults(self) -> dict[str, object]:
        return {key: value for key, value in self.handler.items() if key not in DESCRIBING}

    @property
    def precision(self) -> str:
        return known_precision(self.handler.get("precision", "fp32"))

    @property
    def compile_options(self) -> Mapping[str, object] | None:
        return compile_options(self.config.get("pt2"))

    @property
    def batch_size(self) -> int:
        """Return the most requests that TorchServe puts in a batch."""
        return int(self.config.get("batchSize", 1))

    def network(self) -> nn.Module:
        """Return the archived network with its weights."""
        weights = self.directory / self.manifest["serializedFile"]
        if model_file := self.manifest.get("modelFile"):
            network = own_network(self.directory / Path(model_file).name)
        elif arch := self.handler.get("arch"):
            network = build_network(arch, self.handler.get("arguments") or {}, self.directory)
        else:
            return scripted_network(weights)
        fill(network, read_state(weights))
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


def read_unpacked(directory: Path) -> Unpacked:
    """Return what lies in a folder; ModelError where it is no archive of ours."""
    try:
        manifest = json.loads((directory / "MAR-INF" / "MANIFEST.json").read_text(encoding="utf-8"))["model"]
        config = yaml.safe_load((directory / manifest.get("configFile", "model-config.yaml")).read_text("utf-8"))
        return Unpacked(directory, manifest, config, config["handler"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ModelError(f"this is no archive of scripts/archive.py: {error}") from error


def _known_keys(section: str, given: Mapping[str, object], schema: type) -> None:
    known = {f.name for f in fields(schema)}
    if unknown := sorted(set(given) - known):
        raise ModelError(f"section '{section}' of the archive's configuration has no '{unknown[0]}'")

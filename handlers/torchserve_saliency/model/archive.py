"""An unpacked archive: its files and its configuration, each part read and checked on access."""

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

from torchserve_saliency.errors import ModelError
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.model.acceleration.compile_options import compile_options
from torchserve_saliency.model.acceleration.precision import known_precision
from torchserve_saliency.model.architectures import build_network, scripted_network
from torchserve_saliency.model.changes import apply_changes
from torchserve_saliency.model.checkpoint import fill, read_state
from torchserve_saliency.model.head_search import HeadOptions
from torchserve_saliency.model.labels import read_head_labels, read_labels
from torchserve_saliency.model.model_file import network_from_file

logger = logging.getLogger(__name__)
# keys of the section `handler` that describe the network; any other key is the default of an option
DESCRIBING = frozenset(
    {"arch", "arguments", "class", "changes", "extra_files", "logits", "activation", "input", "limits", "precision"}
)

LABELS_FILE, HEADS_FILE = "index_to_name.json", "heads.json"  # labels of the default head, and labels by head
OWN_FILES = "own_files"  # folder of extra files that would hide an installed module if they were beside the handler
RESPONSE_TIMEOUT = 120  # seconds after which TorchServe ends a worker that does not respond, by default
CPU_ROWS = 16  # on a CPU, a batch of 64 takes two to three times as long per row: activations exceed its caches


@dataclass(frozen=True)
class Limits:
    """Upper limits on the cost of requests and batches.

    Per request: `max_pixels` in its pictures, `max_forwards` forward passes (of one picture each), `max_seconds` of
    processor time, `max_instances` pictures (KServe protocols), and `max_response_bytes` in its response. A request
    that would exceed a limit is rejected before it starts; one that exceeds `max_seconds` is ended. Per picture:
    `max_targets` targets. Per batch: `max_batch_rows` rows, `memory_bytes` for the graph, and `max_batch_seconds`
    after which none of its work is started; by default three quarters of the archive's responseTimeout.
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

    def per_picture(self, pictures: int) -> Limits:
        """Return the limits for each of the `pictures` of a request: equal shares of pixels, passes and seconds."""
        pixels, forwards = self.max_pixels // pictures, self.max_forwards // pictures
        seconds = self.max_seconds / pictures
        return replace(self, max_pixels=pixels, max_forwards=forwards, max_seconds=seconds)

    def max_rows_on(self, device: torch.device) -> int:
        """Return the maximum number of rows in a batch on a device, regardless of its memory."""
        return min(self.max_batch_rows, CPU_ROWS) if device.type == "cpu" else self.max_batch_rows


@dataclass(frozen=True)
class Unpacked:
    """An unpacked archive; accessing an invalid part raises ModelError."""

    directory: Path
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    handler: Mapping[str, Any]

    @property
    def input(self) -> InputSpec:
        section: Mapping[str, Any] = self.handler.get("input") or {}
        _check_keys("input", section, InputSpec)
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in section.items()}
        try:
            return InputSpec(**values)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the archive's preprocessing is invalid: {error}") from error

    @property
    def limits(self) -> Limits:
        section = self.handler.get("limits") or {}
        _check_keys("limits", section, Limits)
        limits = Limits(**{key: int(value) for key, value in section.items()})
        if "max_batch_seconds" not in section:
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
        """Return the maximum number of requests that TorchServe puts in a batch."""
        return int(self.config.get("batchSize", 1))

    def network(self) -> nn.Module:
        """Return the archived network with its weights, on the CPU."""
        weights = self.directory / self.manifest["serializedFile"]
        if model_file := self.manifest.get("modelFile"):
            network = self._own_network(self.directory / Path(model_file).name)
        elif arch := self.handler.get("arch"):
            network = build_network(arch, self.handler.get("arguments") or {}, self.directory)
            apply_changes(network, self.handler.get("changes") or {})
        else:
            return scripted_network(weights)
        fill(network, read_state(weights))
        return network

    def _own_network(self, path: Path) -> nn.Module:
        """Return the network in the user's Python file, which can import the archive's extra files."""
        files = [self._extra_file(str(name)) for name in self.handler.get("extra_files") or ()]
        return network_from_file(path, self.handler.get("class"), self.handler.get("arguments"), files)

    def _extra_file(self, name: str) -> Path:
        """Return the path of an extra file, in the folder of the archive or in OWN_FILES."""
        folder = self.directory / OWN_FILES if name.startswith(f"{OWN_FILES}/") else self.directory
        return folder / Path(name).name

    @property
    def head_options(self) -> HeadOptions:
        """Return the configuration of the network's outputs, with the labels of the files in the archive."""
        labels, heads = self.directory / LABELS_FILE, self.directory / HEADS_FILE
        return HeadOptions(
            key=self.handler.get("logits"),
            activation=self.handler.get("activation"),
            labels=read_labels(labels) if labels.is_file() else None,
            head_labels=read_head_labels(heads) if heads.is_file() else {},
        )

    def self_check(self) -> Mapping[str, object]:
        path = self.directory / "self_check.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def read_unpacked(directory: Path) -> Unpacked:
    """Return the archive in a folder. Raise ModelError for any other folder."""
    try:
        manifest = json.loads((directory / "MAR-INF" / "MANIFEST.json").read_text(encoding="utf-8"))["model"]
        config = yaml.safe_load((directory / manifest.get("configFile", "model-config.yaml")).read_text("utf-8"))
        return Unpacked(directory, manifest, config, config["handler"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ModelError(f"this is no archive made by scripts/archive.py: {error}") from error


def _check_keys(name: str, section: Mapping[str, object], schema: type) -> None:
    """Raise ModelError if a section of the configuration has a key that is not a field of the dataclass `schema`."""
    known = {f.name for f in fields(schema)}
    if unknown := sorted(set(section) - known):
        raise ModelError(f"section '{name}' of the archive's configuration has no '{unknown[0]}'")

"""The measured networks, and their archives for the saliency handler and for TorchServe's default handler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
import yaml
from torch import nn

from tools import ROOT
from torchserve_saliency.model.classifier import load_classifier

WEIGHTS = ROOT.parent / "shared" / "data" / "weights"
MANIFEST, CONFIG = "MAR-INF/MANIFEST.json", "model-config.yaml"
# the preprocessing of the default handler, so that both handlers do equal work
INPUT = ("--input-size", "224", "--resize", "256", "--interpolation", "bilinear")
# TorchServe's default handler needs a model file with exactly one class, whose constructor has no arguments
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


@dataclass(frozen=True)
class Network:
    """A torchvision network. `file` holds trained weights if it exists. `heavy` is true if many passes take minutes."""

    arch: str
    file: str | None = None
    heavy: bool = False

    @property
    def weights(self) -> str:
        """Return the value of `archive --weights`: the local file, or `none` for seeded random weights."""
        path = WEIGHTS / self.file if self.file else None
        return str(path) if path and path.is_file() else "none"


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "resnet50": Network("resnet50"),
        "mobilenet_v2": Network("quantized_mobilenet_v2", "mobilenet_v2_qat.pt"),  # the float network, which has ReLUs
        "squeezenet1_1": Network("squeezenet1_1", "squeezenet1_1.pt"),
        "efficientnet_b0": Network("efficientnet_b0"),
        "vit_b_16": Network("vit_b_16", heavy=True),
        "convnext_tiny": Network("convnext_tiny", heavy=True),
    }
)


def write_archive(network: Network, folder: Path) -> Path:
    """Write an archive of a network with batch size 1 by `torchserve-saliency archive`, and return its path."""
    options = [
        "--model-name",
        "model",
        "--arch",
        network.arch,
        "--weights",
        network.weights,
        "--batch-size",
        "1",
        *INPUT,
    ]
    command = [sys.executable, str(ROOT / "scripts" / "archive.py"), *options, "--export-path", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"'{network.arch}' cannot be archived: {done.stderr.strip()[-2000:]}")
    return folder / "model.mar"


def unpack(archive: Path) -> Path:
    """Unpack an archive to a folder next to it, and return the folder."""
    folder = archive.with_suffix("")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def copy_with_batch_size(archive: Path, size: int, store: Path) -> str:
    """Write a copy of the archive with batch size `size` to a model store, and return its model name."""
    name = f"batch{size}"
    with zipfile.ZipFile(archive) as packed, zipfile.ZipFile(store / f"{name}.mar", "w") as copy:
        manifest, config = json.loads(packed.read(MANIFEST)), yaml.safe_load(packed.read(CONFIG))
        manifest["model"]["modelName"] = name
        changed = {MANIFEST: json.dumps(manifest), CONFIG: yaml.safe_dump(config | {"batchSize": size})}
        for entry in packed.namelist():
            copy.writestr(entry, changed.get(entry, packed.read(entry)))
    return name


def write_default_archive(network: Network, folder: Path, store: Path) -> str:
    """Write an archive of the network in `folder` for TorchServe's `image_classifier`, and return its model name."""
    serialized = json.loads((folder / MANIFEST).read_text())["model"]["serializedFile"]
    state = torch.load(folder / serialized, weights_only=True)
    with tempfile.TemporaryDirectory() as scratch:
        weights, model_file = Path(scratch, "default.pt"), Path(scratch, "network.py")
        torch.save({f"inner.{name}": value for name, value in state.items()}, weights)
        model_file.write_text(DEFAULT_MODEL.format(arch=network.arch))
        options = ["--model-name", "default", "--version", "1.0", "--handler", "image_classifier"]
        options += ["--serialized-file", str(weights), "--model-file", str(model_file), "--export-path", str(store)]
        options += ["--extra-files", str(folder / "index_to_name.json")]
        archiver = [sys.executable, "-m", "model_archiver.model_packaging"]
        subprocess.run([*archiver, *options], check=True, capture_output=True, env={**os.environ, "TMPDIR": scratch})
    return "default"


def plain_network(folder: Path, device: torch.device) -> nn.Module:
    """Return the network of an unpacked archive, frozen but without any optimisation, as a user would have it."""
    return load_classifier(folder, device, fold=False, channels_last=False).network

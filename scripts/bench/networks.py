"""The networks that are measured: our archive of each, TorchServe's own of the same weights, and its plain network."""

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

from saliency.model import load_classifier

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT.parent / "shared" / "data" / "weights"
MANIFEST, CONFIG = "MAR-INF/MANIFEST.json", "model-config.yaml"
# what the default handler does to a picture: both are given the same work
INPUT = ("--input-size", "224", "--resize", "256", "--interpolation", "bilinear")
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


@dataclass(frozen=True)
class Network:
    """A torchvision network; `file` holds real weights where it is there, `heavy` if many passes take minutes."""

    arch: str
    file: str | None = None
    heavy: bool = False

    @property
    def weights(self) -> str:
        """Return the weights for scripts/archive.py: the local file, or `none` for seeded random ones."""
        path = WEIGHTS / self.file if self.file else None
        return str(path) if path and path.is_file() else "none"


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "resnet50": Network("resnet50"),
        "mobilenet_v2": Network("quantized_mobilenet_v2", "mobilenet_v2_qat.pt"),  # the float network, with ReLU
        "squeezenet1_1": Network("squeezenet1_1", "squeezenet1_1.pt"),
        "efficientnet_b0": Network("efficientnet_b0"),
        "vit_b_16": Network("vit_b_16", heavy=True),
        "convnext_tiny": Network("convnext_tiny", heavy=True),
    }
)


def archived(network: Network, folder: Path) -> Path:
    """Return our archive of a network for batches of one, written by scripts/archive.py."""
    flags = ["--model-name", "model", "--arch", network.arch, "--weights", network.weights, "--batch-size", "1", *INPUT]
    command = [sys.executable, str(ROOT / "scripts" / "archive.py"), *flags, "--export-path", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"'{network.arch}' cannot be archived: {done.stderr.strip()[-2000:]}")
    return folder / "model.mar"


def unpacked(archive: Path) -> Path:
    """Return the folder beside an archive that holds its content."""
    folder = archive.with_suffix("")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def with_batch_size(archive: Path, size: int, store: Path) -> str:
    """Write the archive under another name and for batches of `size` into a store, and return that name."""
    name = f"batch{size}"
    with zipfile.ZipFile(archive) as packed, zipfile.ZipFile(store / f"{name}.mar", "w") as copy:
        manifest, config = json.loads(packed.read(MANIFEST)), yaml.safe_load(packed.read(CONFIG))
        manifest["model"]["modelName"] = name
        changed = {MANIFEST: json.dumps(manifest), CONFIG: yaml.safe_dump(config | {"batchSize": size})}
        for entry in packed.namelist():
            copy.writestr(entry, changed.get(entry, packed.read(entry)))
    return name


def default_archive(network: Network, folder: Path, store: Path) -> str:
    """Archive the network that `folder` holds for TorchServe's `image_classifier`; return the model's name."""
    serialized = json.loads((folder / MANIFEST).read_text())["model"]["serializedFile"]
    state = torch.load(folder / serialized, weights_only=True)
    with tempfile.TemporaryDirectory() as scratch:
        weights, model_file = Path(scratch, "default.pt"), Path(scratch, "network.py")
        torch.save({f"inner.{name}": value for name, value in state.items()}, weights)
        model_file.write_text(DEFAULT_MODEL.format(arch=network.arch))
        flags = ["--model-name", "default", "--version", "1.0", "--handler", "image_classifier"]
        flags += ["--serialized-file", str(weights), "--model-file", str(model_file), "--export-path", str(store)]
        flags += ["--extra-files", str(folder / "index_to_name.json")]
        archiver = [sys.executable, "-m", "model_archiver.model_packaging"]
        subprocess.run([*archiver, *flags], check=True, capture_output=True, env={**os.environ, "TMPDIR": scratch})
    return "default"


def plain_network(folder: Path, device: torch.device) -> nn.Module:
    """Return the network of an unpacked archive as a user has it: frozen, and nothing made ready for speed."""
    return load_classifier(folder, device, fold=False, channels_last=False).network

"""Unpacked archives of small networks, written without the archiving command."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from torch import nn

from torchserve_saliency.model.model_file import network_from_file
from torchserve_saliency_cli.archiving.arguments import ArchiveArguments
from torchserve_saliency_cli.archiving.command_line import read_arguments

SMALL = {"size": [16, 16], "resize": [16], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
# a convolution, a batch norm with random statistics, a ReLU, a linear head
PLAIN = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.norm.running_mean.normal_()
        self.head = nn.Linear(6, 4)

    def features(self, x):
        return F.relu(self.norm(self.conv(x))).mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))
"""


def returning(expression: str) -> str:
    """Return the code of PLAIN with another output: an expression of `x` (the picture) and `logits`."""
    head, _, _ = PLAIN.rpartition("return")
    return f"{head}logits = self.head(self.features(x))\n        return {expression}\n"


def model_file(folder: Path, code: str = PLAIN, name: str = "net.py") -> Path:
    """Write a model file with imports and `code`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(HEAD + code, encoding="utf-8")
    return path


def seeded(path: Path, seed: int = 0) -> nn.Module:
    """Return the network of a model file, with seeded weights."""
    torch.manual_seed(seed)
    return network_from_file(path)


def unpacked(folder: Path, code: str = PLAIN, **handler: object) -> Path:
    """Write an unpacked archive of the network in `code`, and return its folder.

    `handler` are keys of that section of its configuration.
    """
    state = seeded(model_file(folder, code)).state_dict()
    return laid_out(folder, state, {"input": SMALL, **handler}, modelFile="net.py")


def laid_out(folder: Path, state: object, handler: Mapping[str, object], **manifest: object) -> Path:
    """Write the weights, manifest and configuration of an unpacked archive, and return its folder."""
    (folder / "MAR-INF").mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "net.pt")
    model = {"modelName": "net", "modelVersion": "1.0", "serializedFile": "net.pt", **manifest}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": model}))
    (folder / "model-config.yaml").write_text(yaml.safe_dump({"batchSize": 8, "handler": dict(handler)}))
    return folder


def scripted(path: Path, network: nn.Module, freeze: bool = False) -> Path:
    """Write a TorchScript file of a network, frozen if `freeze` is true, and return its path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but its files are still in use
        script = torch.jit.script(network.eval())
        (torch.jit.freeze(script) if freeze else script).save(str(path))
    return path


def configured(folder: Path, **keys: object) -> Path:
    """Set top-level keys in the configuration of an unpacked archive, and return its folder."""
    path = folder / "model-config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))
    return folder


def parsed_arguments(*words: str) -> ArchiveArguments:
    """Return the arguments of an `archive` command line, with a model name."""
    return read_arguments(["--model-name", "m", *words])


def own_words(folder: Path, code: str = PLAIN) -> list[str]:
    """Return the words that archive a small network of one's own into `folder`."""
    path = model_file(folder / "source", code)
    weights = folder / "source" / "weights.pt"
    torch.save(seeded(path).state_dict(), weights)
    return [
        *("--model-name", "small", "--export-path", str(folder / "store")),
        *("--model-file", str(path), "--serialized-file", str(weights), "--input-size", "16", "--resize", "16"),
    ]

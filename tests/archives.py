"""Unpacked archives of small networks, laid out by hand."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from torch import nn

from saliency.networks import own_network
from scripts.archiving.arguments import Wanted, read_arguments

SMALL = {"size": [16, 16], "resize": [16], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
# a convolution, a batch norm that has seen something, a rectifier, a head
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
    """Return PLAIN's code with `expression` of `x` (the picture) and `logits` as what it puts out."""
    head, _, _ = PLAIN.rpartition("return")
    return f"{head}logits = self.head(self.features(x))\n        return {expression}\n"


def model_file(folder: Path, code: str = PLAIN, name: str = "net.py") -> Path:
    """Return a model file that holds `code`, torch imported as usual."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(HEAD + code, encoding="utf-8")
    return path


def seeded(path: Path, seed: int = 0) -> nn.Module:
    """Return the network of a model file with seeded weights."""
    torch.manual_seed(seed)
    return own_network(path)


def unpacked(folder: Path, code: str = PLAIN, **handler: object) -> Path:
    """Return a folder as TorchServe leaves an archive of the network in `code`; `handler` goes to its section."""
    state = seeded(model_file(folder, code)).state_dict()
    return laid_out(folder, state, {"input": SMALL, **handler}, modelFile="net.py")


def laid_out(folder: Path, state: object, handler: Mapping[str, object], **manifest: object) -> Path:
    """Return a folder with weights, manifest and configuration."""
    (folder / "MAR-INF").mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "net.pt")
    model = {"modelName": "net", "modelVersion": "1.0", "serializedFile": "net.pt", **manifest}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": model}))
    (folder / "model-config.yaml").write_text(yaml.safe_dump({"batchSize": 8, "handler": dict(handler)}))
    return folder


def scripted(path: Path, network: nn.Module, freeze: bool = False) -> Path:
    """Return a TorchScript file of a network, which is frozen if that is asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript goes out of use; its files do not
        script = torch.jit.script(network.eval())
        (torch.jit.freeze(script) if freeze else script).save(str(path))
    return path


def configured(folder: Path, **keys: object) -> Path:
    """Return the folder of an unpacked archive, top-level keys of its configuration set."""
    path = folder / "model-config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))
    return folder


def wanted(*words: str) -> Wanted:
    """Return what the command line asks for, the name given."""
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

"""A network whose output is any expression, archived and explained, and its scores and gradients by plain autograd."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tools.cases.case import check
from tools.cases.inputs import SIDE, file_of, photograph, preprocessed_by_torchvision
from tools.cases.workshop import Archived, InProcess, Workshop
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.model_file import network_from_file

NETWORK = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, {classes})

    def forward(self, x):
        logits = self.head(self.second(self.first(x).relu()).relu().mean((2, 3))) * {scale}
        return {output}
"""
PICTURE = photograph()
DATA = file_of(PICTURE)
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """A network: the number of its logits, their scale, and its output as an expression of `logits`."""

    output: str = "logits"
    classes: int = 4
    scale: float = 9

    def archive(self, workshop: Workshop, *flags: object, labels: Sequence[str] = ()) -> Archived:
        """Archive the network with seeded weights."""
        path = workshop.write("net.py", NETWORK.format(**vars(self)))
        files = ("--model-file", path, "--serialized-file", workshop.save("net.pt", network(path).state_dict()))
        named = ("--labels", workshop.write("labels.txt", "\n".join(labels))) if labels else ()
        return workshop.archive(*files, "--input-size", SIDE, "--resize", SIDE, *named, *flags)

    def explainer(self, folder: Path, labels: Sequence[str] | None = None, activation: str | None = None) -> Explainer:
        """Return an explainer of the network in memory, which is quicker than an archive."""
        return Explainer.of(self.bare(folder), labels=labels, size=SIDE, resize=SIDE, activation=activation)

    def bare(self, folder: Path) -> nn.Module:
        """Return the network itself, with its file in a folder."""
        path = folder / f"{len(list(folder.iterdir()))}.py"
        path.write_text(NETWORK.format(**vars(self)), encoding="utf-8")
        return network(path)

    def served(self, workshop: Workshop, *flags: object, labels: Sequence[str] = ()) -> Own:
        """Archive the network; return its handler, and the network itself."""
        handler = workshop.handler(self.archive(workshop, *flags, labels=labels))
        return Own(handler, network(workshop.folder / "net.py").double())


def network(path: Path) -> nn.Module:
    """Return the network of a model file, with seeded weights."""
    torch.manual_seed(4)
    return network_from_file(path).eval()


@dataclass(frozen=True)
class Own:
    """A handler, and the bare network in float64."""

    handler: InProcess
    network: nn.Module

    def gradient(self, score: str, activation: str, target: int, against: int | None = None) -> tuple[Vector, Vector]:
        """Return the probabilities [K] and the gradient [3, H, W] of a score; see `reference`."""
        return reference(self.network, score, activation, target, against)

    def explain(self, **fields: object) -> Any:
        """Return the body of an explanation of the picture; raise AssertionError for another status than 200."""
        answer = self.handler.ask({"data": DATA, **fields})
        check(answer.status == 200, f"status {answer.status}: {str(answer.body)[:300]}")
        return answer.body

    def maps(self, **fields: object) -> NDArray[np.float32]:
        """Return the exact maps of an explanation."""
        maps: NDArray[np.float32] = np.load(io.BytesIO(self.explain(format="npy", **fields)))
        return maps

    def probabilities(self, **fields: object) -> Vector:
        """Return the probability of each class, in the order of their indices."""
        found = self.explain(top_k=100, render="none", **fields)["predictions"]
        return np.array([each["probability"] for each in sorted(found, key=lambda each: each["index"])])


def reference(
    network: nn.Module, score: str, activation: str, target: int, against: int | None = None
) -> tuple[Vector, Vector]:
    """Return the probabilities [K] and the gradient [3, H, W] of a score for the picture, by autograd in float64."""
    leaf = preprocessed_by_torchvision(PICTURE).double().requires_grad_()
    outputs = network.double()(leaf).flatten()
    outputs = torch.stack([-outputs[0], outputs[0]]) if len(outputs) == 1 else outputs
    logarithms = {
        "softmax": outputs.log_softmax(0),
        "sigmoid": functional.logsigmoid(outputs),
        "none": outputs.clamp_min(1e-300).log(),
    }[activation]
    scores = {"logit": outputs, "probability": logarithms.exp(), "log_probability": logarithms}[score]
    value = scores[target] - (0 if against is None else scores[against])
    (gradient,) = torch.autograd.grad(value, leaf)
    return logarithms.exp().detach().numpy(), gradient[0].numpy()


def check_close(name: str, found: NDArray[Any], right: NDArray[Any], tolerance: float) -> None:
    """Raise AssertionError if arrays differ in norm by more than `tolerance`, relative to the right one."""
    error = float(np.linalg.norm(found - right) / (np.linalg.norm(right) or 1))
    check(found.shape == right.shape, f"{name}: shape {found.shape}, not {right.shape}")
    check(error <= tolerance, f"{name}: differs from the reference by {error:.2g}")


def check_scores(own: Own, activation: str, target: int = 1) -> None:
    """Raise AssertionError if probabilities, or the gradients of any score, differ from the references."""
    for score in ("logit", "probability", "log_probability"):
        for against in (None, 0):
            probabilities, gradient = own.gradient(score, activation, target, against)
            versus: Mapping[str, object] = {} if against is None else {"against": against}
            maps = own.maps(target=target, score=score, reduce="none", **versus)
            check_close(f"{score} against {against}", maps[0].astype(np.float64), gradient, 1e-3)
    worst = float(np.abs(own.probabilities() - probabilities).max())
    check(worst <= 1e-6, f"a probability differs by {worst:.2g}")

"""Maps of real networks on real pictures, compared with Captum, float64 autograd and the places of the animals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.evaluation.parity import OPTIONS, errors
from torchserve_saliency.explainer import Explainer

ROOT = Path(__file__).resolve().parents[1]
CIFAR = """
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.MaxPool2d(2, 2)
        self.pool2 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x)))
        x = F.relu(self.fc1(x.view(-1, 400)))
        return self.fc3(F.relu(self.fc2(x)))
"""
CIFAR_CLASSES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def archived(folder: Path, name: str, *flags: str | Path) -> Path:
    """Write an archive to a folder with scripts/archive.py and return its path."""
    command = [sys.executable, ROOT / "scripts" / "archive.py", "--model-name", name, "--export-path", folder, *flags]
    subprocess.run(command, check=True)
    return folder / f"{name}.mar"


@pytest.fixture(scope="module")
def squeezenet(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of SqueezeNet with its ImageNet weights."""
    weights = data / "weights" / "squeezenet1_1.pt"
    return archived(tmp_path_factory.mktemp("real"), "squeezenet", "--arch", "squeezenet1_1", "--weights", weights)


@pytest.fixture(scope="module")
def explainer(squeezenet: Path) -> Explainer:
    """Return an explainer of SqueezeNet."""
    return Explainer.load(squeezenet)


def test_the_owl_is_classified_as_a_great_grey_owl(explainer: Explainer, data: Path) -> None:
    best = explainer.explain(data / "photos" / "great_grey_owl.jpg").predictions[0]
    assert best.label == "great grey owl"
    assert best.probability > 0.99


@pytest.mark.filterwarnings("ignore")
def test_maps_equal_those_of_captum_and_of_float64_autograd(squeezenet: Path, data: Path) -> None:
    relative_errors = errors(squeezenet, data / "photos" / "great_grey_owl.jpg")
    assert set(relative_errors) == set(OPTIONS)
    for method, (captum, exact) in relative_errors.items():
        assert captum < 1e-3, method
        assert exact is None or exact < 1e-3, method


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [
        ("integrated_gradients", 0.02),
        ("blur_integrated_gradients", 0.05),
        ("gradient_shap", 0.1),
        ("guided_integrated_gradients", 0.15),
    ],
)
def test_the_completeness_gap_of_fifty_steps_is_small(
    explainer: Explainer, data: Path, method: str, tolerance: float
) -> None:
    (owl,) = explainer.explain(data / "photos" / "great_grey_owl.jpg", method=method).maps
    assert owl.findings["score_difference"] > 10
    assert abs(owl.findings["completeness_gap"]) < tolerance * owl.findings["score_difference"]


FIRST_ROW_OF_CAT = 125  # the row of the 224 x 224 crop where the cat's ears end; the dog is above


def test_grad_cam_highlights_the_animal_of_the_target_class(explainer: Explainer, data: Path) -> None:
    """The logit of the cat also depends on the dog; the probability of the cat depends on the cat alone."""
    picture = data / "photos" / "dog_and_cat.png"
    dog, cat = (each.saliency for each in explainer.explain(picture, target="boxer;tiger cat", method="grad_cam").maps)
    (probability,) = explainer.explain(picture, target="tiger cat", method="grad_cam", score="probability").maps
    assert share_on_cat(dog) < 0.25
    assert share_on_cat(cat) > 2 * share_on_cat(dog)
    assert share_on_cat(probability.saliency) > 0.9
    assert row_of_maximum(dog) < FIRST_ROW_OF_CAT < row_of_maximum(probability.saliency)


def share_on_cat(saliency: np.ndarray) -> float:
    """Return the share of the saliency [H, W] on the rows of the cat."""
    return float(saliency[FIRST_ROW_OF_CAT:].sum() / saliency.sum())


def row_of_maximum(saliency: np.ndarray) -> int:
    """Return the row of the highest saliency."""
    return int(np.argmax(saliency)) // saliency.shape[1]


def test_the_cifar_network_of_captums_tutorial_explains_ships(data: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CIFAR)
    (tmp_path / "labels.txt").write_text("\n".join(CIFAR_CLASSES))
    input_flags = ("--input-size", "32", "--resize", "32", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    weights = data / "weights" / "cifar_torchvision.pt"
    files = ("--model-file", tmp_path / "net.py", "--serialized-file", weights, "--labels", tmp_path / "labels.txt")
    explainer = Explainer.load(archived(tmp_path, "cifar", *files, *input_flags))
    ships = sorted((data / "cifar10" / "ship").iterdir())
    explanations = [explainer.explain(ship, target="ship") for ship in ships]
    assert np.mean([e.predictions[0].label == "ship" for e in explanations]) > 0.5
    assert all(e.maps[0].saliency.shape == (32, 32) and e.maps[0].saliency.any() for e in explanations)

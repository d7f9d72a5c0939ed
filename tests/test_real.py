"""Real networks on real pictures: what the maps are held against is Captum, float64 and the animals' places."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from saliency.explainer import Explainer
from scripts.parity import OPTIONS, errors

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
CLASSES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def archived(folder: Path, name: str, *flags: str | Path) -> Path:
    command = [sys.executable, ROOT / "scripts" / "archive.py", "--model-name", name, "--export-path", folder, *flags]
    subprocess.run(command, check=True)
    return folder / f"{name}.mar"


@pytest.fixture(scope="module")
def squeezenet(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = data / "weights" / "squeezenet1_1.pt"
    return archived(tmp_path_factory.mktemp("real"), "squeezenet", "--arch", "squeezenet1_1", "--weights", weights)


@pytest.fixture(scope="module")
def explainer(squeezenet: Path) -> Explainer:
    return Explainer.load(squeezenet)


def test_the_owl_is_a_great_grey_owl(explainer: Explainer, data: Path) -> None:
    best = explainer.explain(data / "photos" / "great_grey_owl.jpg").predictions[0]
    assert best.label == "great grey owl"
    assert best.probability > 0.99


@pytest.mark.filterwarnings("ignore")
def test_maps_are_those_of_captum_and_of_float64(squeezenet: Path, data: Path) -> None:
    found = errors(squeezenet, data / "photos" / "great_grey_owl.jpg")
    assert set(found) == set(OPTIONS)
    for method, (captum, exact) in found.items():
        assert captum < 1e-3, method
        assert exact is None or exact < 1e-3, method


@pytest.mark.parametrize(
    ("method", "share"),
    [
        ("integrated_gradients", 0.02),
        ("blur_integrated_gradients", 0.05),
        ("gradient_shap", 0.1),
        ("guided_integrated_gradients", 0.15),
    ],
)
def test_a_path_of_fifty_points_is_nearly_complete(explainer: Explainer, data: Path, method: str, share: float) -> None:
    (owl,) = explainer.explain(data / "photos" / "great_grey_owl.jpg", method=method).maps
    assert owl.findings["score_difference"] > 10
    assert abs(owl.findings["completeness_gap"]) < share * owl.findings["score_difference"]


def test_grad_cam_lies_on_the_animal_that_is_asked_for(explainer: Explainer, data: Path) -> None:
    """The dog sits above the cat. The cat's logit hears of both, its probability of the cat alone."""
    picture = data / "photos" / "dog_and_cat.png"
    dog, cat = (one.saliency for one in explainer.explain(picture, target="boxer;tiger cat", method="grad_cam").maps)
    (sure,) = explainer.explain(picture, target="tiger cat", method="grad_cam", score="probability").maps
    assert on_the_cat(dog) < 0.25
    assert on_the_cat(cat) > 2 * on_the_cat(dog)
    assert on_the_cat(sure.saliency) > 0.9
    assert np.argmax(dog) // dog.shape[1] < CAT_BEGINS < np.argmax(sure.saliency) // dog.shape[1]


CAT_BEGINS = 125  # the row of the crop where the cat's ears end


def on_the_cat(saliency: np.ndarray) -> float:
    """Return the share of a map that lies on the rows of the cat."""
    return float(saliency[CAT_BEGINS:].sum() / saliency.sum())


def test_captums_cifar_network_explains_a_ship(data: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CIFAR)
    (tmp_path / "labels.txt").write_text("\n".join(CLASSES))
    shape = ("--input-size", "32", "--resize", "32", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    weights = data / "weights" / "cifar_torchvision.pt"
    own = ("--model-file", tmp_path / "net.py", "--serialized-file", weights, "--labels", tmp_path / "labels.txt")
    explainer = Explainer.load(archived(tmp_path, "cifar", *own, *shape))
    ships = sorted((data / "cifar10" / "ship").iterdir())
    explanations = [explainer.explain(ship, target="ship") for ship in ships]
    assert np.mean([e.predictions[0].label == "ship" for e in explanations]) > 0.5
    assert all(e.maps[0].saliency.shape == (32, 32) and e.maps[0].saliency.any() for e in explanations)

"""Heads that stand beside the backbone in a checkpoint, as in MMPretrain and in modules of Lightning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.cli.archiving.test_adaptation import check_same, found, head, replaced
from torchserve_saliency.errors import ModelError

SIZE = ("--input-size", "64")


def split(network: nn.Module, backbone: str, name: str) -> dict[str, Tensor]:
    """Return the state dict of a network whose layer `fc` is saved as `name`, the others with the prefix `backbone`."""
    return {
        f"{name}{key[2:]}" if key.startswith("fc.") else f"{backbone}{key}": value
        for key, value in network.state_dict().items()
    }


@pytest.mark.parametrize(
    ("backbone", "name"), [("backbone.", "head.fc"), ("model.encoder.", "model.head"), ("", "classifier")]
)
def test_a_linear_layer_beside_the_backbone_is_its_head(tmp_path: Path, backbone: str, name: str) -> None:
    torch.manual_seed(0)
    trained = models.resnet18(num_classes=5)
    state = split(trained, backbone, name) | {"criterion.weight": torch.ones(5)}
    source = found(tmp_path, "resnet18", {"state_dict": state}, *SIZE)
    assert source.match is not None
    assert (source.match.head, source.match.left_over) == (name, ("criterion.weight",))
    check_same(tmp_path, source, trained)


def test_several_layers_beside_the_backbone_are_a_head_with_an_activation(tmp_path: Path) -> None:
    trained = replaced(models.resnet18(), "fc", head(512, 16, 5))
    state = split(trained, "backbone.", "head")
    with pytest.raises(ModelError, match="--head-activation"):
        found(tmp_path, "resnet18", state, *SIZE)
    check_same(tmp_path, found(tmp_path, "resnet18", state, *SIZE, "--head-activation", "relu"), trained)


@pytest.mark.parametrize(
    "beside",
    [
        {"head.weight": torch.ones(5, 512)},  # without a bias: it may compare directions
        {"head.weight": torch.ones(5, 100), "head.bias": torch.ones(5)},
        {"projector.weight": torch.ones(5, 512), "projector.bias": torch.ones(5)},
        {"a.weight": torch.ones(5, 512), "a.bias": torch.ones(5), "b.weight": torch.ones(2, 512)},
    ],
)
def test_other_layers_beside_the_backbone_are_refused(tmp_path: Path, beside: dict[str, Tensor]) -> None:
    state = {key: value for key, value in split(models.resnet18(), "backbone.", "fc").items() if key[:3] != "fc."}
    with pytest.raises(ModelError, match=r"layers that it lacks: .* --model-file"):
        found(tmp_path, "resnet18", state | beside, *SIZE)


def test_a_head_on_top_of_the_original_one_is_refused(tmp_path: Path) -> None:
    state = {f"backbone.{key}": value for key, value in models.resnet18().state_dict().items()}
    with pytest.raises(ModelError, match=r"layers that it lacks: head\.weight"):
        found(tmp_path, "resnet18", state | {"head.weight": torch.ones(5, 512), "head.bias": torch.ones(5)}, *SIZE)

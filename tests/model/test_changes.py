"""Changes to a library's network: input channels and heads, and the errors for those that do not apply."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.changes import apply_changes

LAST: dict[str, object] = {"4": {"linear": [8, 2, False]}}


def test_a_network_gets_other_channels_and_another_head() -> None:
    changes: dict[str, dict[str, object]] = {
        "conv1": {"in_channels": 5, "bias": True},
        "fc": {"layers": [{"0": {"linear": [512, 8]}}, {"1": {"batch_norm": [8]}}, {"a": "gelu"}, LAST]},
    }
    network = apply_changes(models.resnet18(), changes).eval()
    assert network(torch.zeros(1, 5, 32, 32)).shape == (1, 2)
    names = list(network.state_dict())
    assert {"conv1.bias", "fc.0.bias", "fc.1.running_mean", "fc.4.weight"} <= set(names)
    assert "fc.4.bias" not in names
    assert isinstance(network.get_submodule("fc.a"), nn.GELU)


def test_a_layer_without_a_name_is_the_module_itself() -> None:
    network = apply_changes(models.mobilenet_v2(), {"classifier": {"layers": [{"": {"linear": [1280, 3]}}]}})
    assert isinstance(network.get_submodule("classifier"), nn.Linear)


@pytest.mark.parametrize(
    "change",
    [
        {"nothing": {"in_channels": 1}},
        {"fc": {"in_channels": 1}},
        {"fc": {"layers": [{"0": "eval"}]}},
        {"fc": {"layers": [{"0": {"exec": [1]}}]}},
        {"fc": {"something": 1}},
    ],
)
def test_a_change_that_does_not_apply_is_an_error(change: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ModelError, match="cannot be applied"):
        apply_changes(models.resnet18(), change)

"""State dicts read from checkpoints and loaded into networks, and the errors for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.checkpoint import fill, read_state


def saved(path: Path, checkpoint: object) -> Path:
    """Write a checkpoint, and return its path."""
    torch.save(checkpoint, path)
    return path


WRAPPINGS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "best": 0.5},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "twice": lambda state: {"epoch": 1, "model": {"step": 2, "state_dict": state}},
    "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {"epoch": 1, "model": {f"module._orig_mod.{key}": v for key, v in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_checkpoints_are_unwrapped(tmp_path: Path, wrapping: str) -> None:
    state = nn.Linear(3, 2).state_dict()
    found = read_state(saved(tmp_path / "w.pt", WRAPPINGS[wrapping](state)))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        # B6: a module that was pickled as a whole
        (nn.Linear(3, 2), "not a state dict that can be read safely"),
        (nn.Linear(3, 2), r"a whole module was pickled \(torch\.nn\.modules\.linear\.Linear\).* model\.state_dict\(\)"),
        ({"epoch": 1, "model": nn.Linear(3, 2)}, "a whole module was pickled under 'model'"),
        ({"epoch": 3}, "contains no state dict .* but a mapping with 'epoch'"),
        (torch.zeros(3), "contains no state dict .* but a Tensor"),
        ({}, "contains no state dict"),
    ],
)
def test_a_file_without_a_state_dict_is_an_error(tmp_path: Path, checkpoint: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refused:
        read_state(saved(tmp_path / "w.pt", checkpoint))
    assert "\x1b" not in str(refused.value)
    assert "weights_only" not in str(refused.value)


def test_a_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match=r"'w\.pt' is not a state dict"):
        read_state(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # tracing is deprecated, but its files are still in use
def test_a_script_module_is_an_error_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)).save(str(path))
    with pytest.raises(ModelError, match=r"ScriptModule, not a state dict.*archive it without --arch"):
        read_state(path)


def test_weights_that_do_not_fit_are_an_error_with_the_first_mismatches() -> None:
    state = nn.Sequential(nn.Linear(3, 2)).state_dict() | {"1.scale": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"they lack 1\.weight, 1\.bias; they also contain 1\.scale$"):
        fill(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), state)
    with pytest.raises(ModelError, match=r"differ in shape at weight \(\[2, 3\], not \[2, 4\]\)"):
        fill(nn.Linear(4, 2), nn.Linear(3, 2).state_dict())


def test_weights_without_num_batches_tracked_fit() -> None:
    norm = nn.BatchNorm2d(3)
    fill(norm, {key: value + 1 for key, value in norm.state_dict().items() if key != "num_batches_tracked"})
    assert norm.running_mean is not None
    assert bool((norm.running_mean == 1).all())


@pytest.mark.parametrize("plain", [True, False])
def test_layout_versions_are_kept_with_the_weights(tmp_path: Path, plain: bool) -> None:
    network = models.mnasnet0_5(num_classes=2)
    state = dict(network.state_dict()) if plain else network.state_dict()
    fill(models.mnasnet0_5(num_classes=2), read_state(saved(tmp_path / "w.pt", state)))

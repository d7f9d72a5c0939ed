"""The networks' table, and copies of an archive that differ in name and batch size alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from saliency.networks import torchvision_names
from scripts.bench.networks import CONFIG, MANIFEST, NETWORKS, Network, archived, plain_network, with_batch_size
from tests.archives import unpacked


def packed(folder: Path) -> Path:
    """Return an unpacked archive's folder as a .mar."""
    archive = folder.with_suffix(".mar")
    with zipfile.ZipFile(archive, "w") as written:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                written.write(path, path.relative_to(folder))
    return archive


def test_every_network_is_one_of_torchvisions() -> None:
    assert {network.arch for network in NETWORKS.values()} <= set(torchvision_names())


def test_weights_are_local_ones_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.networks.WEIGHTS", tmp_path)
    network = Network("squeezenet1_1", "some.pt")
    assert network.weights == "none"
    (tmp_path / "some.pt").touch()
    assert network.weights == str(tmp_path / "some.pt")


def test_a_copy_differs_in_name_and_batch_size_alone(tmp_path: Path) -> None:
    archive = packed(unpacked(tmp_path / "model"))
    assert with_batch_size(archive, 16, tmp_path) == "batch16"
    with zipfile.ZipFile(archive) as one, zipfile.ZipFile(tmp_path / "batch16.mar") as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        differing = {name for name in one.namelist() if one.read(name) != other.read(name)}
        assert differing == {MANIFEST, CONFIG}
        assert json.loads(other.read(MANIFEST))["model"]["modelName"] == "batch16"
        before, after = (yaml.safe_load(each.read(CONFIG)) for each in (one, other))
        assert after == before | {"batchSize": 16}


def test_the_plain_network_is_frozen_and_not_folded(tmp_path: Path) -> None:
    network = plain_network(unpacked(tmp_path / "model"), torch.device("cpu"))
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_network_that_cannot_be_archived_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no classifier 'resnet51'"):
        archived(Network("resnet51"), tmp_path)

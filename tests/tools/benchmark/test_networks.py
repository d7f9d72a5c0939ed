"""The table of networks, and copies of an archive with another name and batch size."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from tests.archives import unpacked
from tools.benchmark.networks import (
    CONFIG,
    MANIFEST,
    NETWORKS,
    Network,
    copy_with_batch_size,
    plain_network,
    write_archive,
)
from torchserve_saliency.model.architectures import torchvision_names


def pack(folder: Path) -> Path:
    """Pack the folder of an unpacked archive to a .mar file."""
    archive = folder.with_suffix(".mar")
    with zipfile.ZipFile(archive, "w") as written:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                written.write(path, path.relative_to(folder))
    return archive


def test_torchvision_has_every_network() -> None:
    assert {network.arch for network in NETWORKS.values()} <= set(torchvision_names())


def test_weights_are_a_local_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.benchmark.networks.WEIGHTS", tmp_path)
    network = Network("squeezenet1_1", "some.pt")
    assert network.weights == "none"
    (tmp_path / "some.pt").touch()
    assert network.weights == str(tmp_path / "some.pt")


def test_a_copy_differs_only_in_name_and_batch_size(tmp_path: Path) -> None:
    archive = pack(unpacked(tmp_path / "model"))
    assert copy_with_batch_size(archive, 16, tmp_path) == "batch16"
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
        write_archive(Network("resnet51"), tmp_path)

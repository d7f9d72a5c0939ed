"""Networks of a repository with a hubconf.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.leaves.draw import draw

HUBCONF = """
import torch
from torch import nn

dependencies = ["torch"]


def small(classes=3, pretrained=True):
    '''A network of the test.'''
    from blocks import Small

    return Small(classes)


def fails():
    raise ValueError("nothing here")


def number():
    return 7
"""
BLOCKS = """
from torch import nn


class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(6, classes)

    def forward(self, x):
        features = self.conv(x).relu().mean((2, 3))
        return {"features": features[:, :, None, None], "logits": self.head(features)}
"""
PICTURE = draw(4, ["rust", "scab"]).image


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF, encoding="utf-8")
    (folder / "blocks.py").write_text(BLOCKS, encoding="utf-8")
    return folder


def run(folder: Path, *words: object) -> int:
    """Run the archiving command."""
    common = ("--model-name", "net", "--export-path", folder, "--force", "--sanity", "off", "--directions", "1")
    return main([str(word) for word in (*common, "--input-size", "32", *words)])


def test_an_entry_is_archived_with_its_arguments_and_without_its_code(repository: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = torch.hub.load(str(repository), "small", source="local", trust_repo=True, classes=5).eval()
    assert sys.modules.pop("blocks").Small is type(network)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    words = ("--arguments", '{"classes": 5}', "--weights", tmp_path / "net.pt")
    assert run(tmp_path, "--arch", f"torchhub:{repository}:small", *words) == 0
    assert "blocks" not in sys.modules  # the name is free for the files of another network
    explainer = Explainer.load(tmp_path / "net.mar")
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(explainer.classifier.network(x), network(x)["logits"])
    assert len(explainer.explain(PICTURE).predictions) == 5


@pytest.mark.parametrize(
    ("entry", "words", "message"),
    [
        ("absent", (), "Cannot find callable absent"),
        ("fails", (), "nothing here"),
        ("number", (), "int, not a network"),
        ("small", ("--weights", "none"), "--arguments"),
    ],
)
def test_a_wrong_entry_is_a_usage_error(
    entry: str, words: tuple[str, ...], message: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(repository, "--arch", f"torchhub:{repository}:{entry}", *words) == 2
    assert message in capsys.readouterr().err


def test_a_name_without_an_entry_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--arch", "torchhub:small") == 2
    assert "OWNER/NAME:ENTRY" in capsys.readouterr().err

"""The accuracy on a folder whose subfolders name the classes (F5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tools.corpus.tiny_network import classifier_of
from torchserve_saliency.errors import ModelError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.archive import Limits
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.folder_check import check_accuracy, folder_accuracy


class Colours(nn.Module):
    """The mean of each channel: the logits of red, green and blue."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


def explainer(*names: str) -> Explainer:
    """Return an explainer of Colours with class names."""
    return Explainer(classifier_of(Colours().eval().requires_grad_(False), 8, names, Limits(), {}))


def pictures(folder: Path, **colours: str) -> Path:
    """Write pictures of one colour for each letter of a class's text, and return the folder."""
    for name, letters in colours.items():
        (folder / name).mkdir(parents=True)
        for number, letter in enumerate(letters):
            pixels = np.zeros((8, 8, 3), np.uint8)
            pixels[..., "rgb".index(letter)] = 250
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder


def test_f5_the_accuracy_is_printed_by_class(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "test", Red="rrrr", deep_green="gggb", blue="b" * 20)
    found = folder_accuracy(explainer("red", "deep green", "blue"), folder)
    assert [(each.label, each.right, each.pictures) for each in found.classes] == [
        ("red", 4, 4),
        ("blue", 20, 20),
        ("deep green", 3, 4),
    ]
    assert found.accuracy == pytest.approx(27 / 28)
    text = "\n".join(found.lines())
    assert "96.4% of 28 pictures" in text
    assert "deep green  3 of 4, mostly taken for blue" in text
    check_accuracy(found, 0.9, folder)
    check_accuracy(found, None, folder)
    with pytest.raises(
        ModelError, match=r"accuracy on 'test' is 96\.4%, below --min-accuracy 0\.97.*--input-size.*--labels"
    ):
        check_accuracy(found, 0.97, folder)


def test_folders_may_be_named_by_index(tmp_path: Path) -> None:
    folder = pictures(tmp_path, **{"0": "rr", "2": "b", "2/deeper": "bb"})
    found = folder_accuracy(explainer("red", "green", "blue"), folder)
    assert (found.accuracy, found.pictures) == (1, 5)


def test_a_folder_that_is_no_class_is_a_usage_error(tmp_path: Path) -> None:
    folder = pictures(tmp_path, red="r", gren="g")
    with pytest.raises(UsageError, match=r"the subfolder 'gren' names no class: .*did you mean 'green'"):
        folder_accuracy(explainer("red", "green", "blue"), folder)


def test_pictures_that_cannot_be_read_are_counted_and_lower_no_accuracy(tmp_path: Path) -> None:
    folder = pictures(tmp_path, red="rr")
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    found = folder_accuracy(explainer("red", "green", "blue"), folder)
    assert (found.accuracy, found.unreadable) == (1, 1)
    assert "1 pictures could not be read: " in found.lines()[-1]
    (folder / "red" / "00.png").unlink()
    (folder / "red" / "01.png").unlink()
    with pytest.raises(ModelError, match=r"is 0\.0%"):
        check_accuracy(folder_accuracy(explainer("red", "green", "blue"), folder), 0.1, folder)

"""Archives of networks that people have: own classes in several files, own handlers, checkpoints, and their summary."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision import models

from tests.archives import PLAIN, model_file, own_words
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.model_file import network_from_file
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.pictures import generated_picture

FAST = ("--sanity", "off", "--directions", "1")
IN_FILES = """
from blocks import Block
from layers.pool import pool

class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.factor

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.scale = Scale()
        self.block = Block(3, 6)
        self.head = nn.Linear(6, num_classes)

    def forward(self, x):
        from layers.late import half
        return half(self.head(pool(self.block(self.scale(x)))))

    def unused(self):
        import a_package_that_is_absent
"""
BLOCKS = """
from torch import nn

class Block(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Conv2d(inputs, outputs, 3), nn.ReLU())
"""
HANDLER = """
from saliency_handler import SaliencyHandler

class Mine(SaliencyHandler):
    pass
"""


def network_in_files(folder: Path) -> tuple[list[str], torch.nn.Module]:
    """Write a network in several files and its checkpoint; return the words that archive it, and the network."""
    path = model_file(folder, IN_FILES)
    (folder / "blocks.py").write_text(BLOCKS)
    (folder / "layers").mkdir()
    (folder / "layers" / "pool.py").write_text("def pool(x):\n    return x.mean((2, 3))\n")
    (folder / "layers" / "late.py").write_text("def half(x):\n    return x / 2\n")
    (folder / "my_handler.py").write_text(HANDLER)
    (folder / "requirements.txt").write_text("skimage\n")
    torch.manual_seed(0)
    network = network_from_file(path, None, {"num_classes": 5}, [folder / "blocks.py", folder / "layers"])
    state = {f"net.{name}": value for name, value in network.state_dict().items()} | {"loss.weight": torch.ones(5)}
    torch.save({"epoch": 1, "state_dict": state}, folder / "last.ckpt")
    words = ["--model-name", "own", "--export-path", str(folder / "store"), "--model-file", str(path)]
    words += ["--extra-files", f"{folder / 'blocks.py'},{folder / 'layers'}", "--arguments", '{"num_classes": 5}']
    return [*words, "--weights", str(folder / "last.ckpt"), "--input-size", "24", "--resize", "24", *FAST], network


def test_c1_to_c5_and_c7_a_network_in_several_files_with_its_handler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, network = network_in_files(tmp_path)
    words += ["--handler", str(tmp_path / "my_handler.py"), "--requirements-file", str(tmp_path / "requirements.txt")]
    assert main(words) == 0
    printed = capsys.readouterr()
    for line in (
        "net.py, Net, weights",
        "taken       'state_dict' of the file, prefix 'net.' removed",
        "left over   loss.weight",
        "24 x 24, 3 channels (RGB): resize shorter side to 24, bilinear",
        "mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "block, grid 22 x 22",
        "packages    those of requirements.txt are installed only if config.properties has install_py_dep_per_model=",
        "not held    a_package_that_is_absent (net.py, line ",
    ):
        assert line in printed.out
    assert "reading the network and its weights" in printed.err
    mar = tmp_path / "store" / "own.mar"
    with zipfile.ZipFile(mar) as archive:
        names = set(archive.namelist())
        config = yaml.safe_load(archive.read("model-config.yaml"))["handler"]
        manifest = yaml.safe_load(archive.read("MAR-INF/MANIFEST.json"))["model"]
    assert {"blocks.py", "layers/pool.py", "layers/late.py", "my_handler.py", "saliency_handler.py"} <= names
    assert (manifest["handler"], manifest["requirementsFile"]) == ("my_handler.py", "requirements.txt")
    assert (config["class"], config["arguments"], config["extra_files"]) == (
        "Net",
        {"num_classes": 5},
        ["blocks.py", "layers"],
    )
    explainer = Explainer.load(mar)
    explanation = explainer.explain(generated_picture(explainer.classifier.input))
    x = torch.from_numpy(np.asarray(explanation.picture.tensor))[None]
    with torch.no_grad():
        expected = network.eval()(x).softmax(1)[0]
    for prediction in explanation.predictions:
        assert prediction.probability == pytest.approx(float(expected[prediction.index]), abs=1e-6)


def test_c3_a_named_function_makes_the_network(tmp_path: Path) -> None:
    words = own_words(tmp_path, f"{PLAIN}\ndef make(classes):\n    net = Net()\n    return net\n")
    assert main([*words, *FAST, "--class", "make", "--arguments", '{"classes": 4}']) == 0
    assert len(Explainer.load(tmp_path / "store" / "small.mar").classifier.labels) == 4


def test_c4_a_missing_extra_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, _ = network_in_files(tmp_path)
    words[words.index("--extra-files") + 1] = str(tmp_path / "layers")
    assert main(words) == 1
    assert "No module named 'blocks'" in capsys.readouterr().err


def grey_words(folder: Path) -> list[str]:
    """Return the words that archive a grey ResNet-18 of 128 pixels with a replaced head, of two averaged states."""
    torch.manual_seed(0)
    trained = models.resnet18()
    trained.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    trained.fc = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(512, 3))
    state = trained.state_dict()
    torch.save({"state_dict": state, "state_dict_ema": {k: v.clone() for k, v in state.items()}}, folder / "w.pth")
    (folder / "config.json").write_text('{"id2label": {"0": "ant", "1": "bee", "2": "cat"}}')
    words = ["--model-name", "grey", "--arch", "resnet18", "--weights", str(folder / "w.pth"), "--mean", ".5"]
    words += ["--std", ".25", "--labels", str(folder / "config.json"), "--input-size", "128", "--resize", "140"]
    return [*words, "--export-path", str(folder / "store"), *FAST]


def test_b4_b5_f4_and_f5_the_summary_says_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, level in (("ant", 30), ("bee", 120), ("cat", 220)):
        (tmp_path / "test" / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(np.full((150, 150), level + number, np.uint8)).save(
                tmp_path / "test" / name / f"{number}.png"
            )
    words = grey_words(tmp_path)
    assert main([*words, "--check-folder", str(tmp_path / "test")]) == 0
    printed = capsys.readouterr().out
    for line in (
        "taken       'state_dict_ema' of the file, an average over the training (EMA)",
        "it also has state_dict: --state KEY takes another one",
        "changed     conv1: 1 input channels",
        "changed     fc: linear 512 -> 3; layers before it have no weights, and are taken for dropout",
        "128 x 128, 1 channel (grey): resize shorter side to 140, bilinear, then centre crop",
        "normalised  mean 0.5, std 0.25",
        "CAM layer   layer4, grid 4 x 4: coarse; layer3 has 8 x 8 (--layer layer3)",
        "accuracy    33.3% of 6 pictures",
    ):
        assert line in printed
    assert Explainer.load(tmp_path / "store" / "grey.mar").classifier.labels.names == ("ant", "bee", "cat")
    words += ["--check-folder", str(tmp_path / "test"), "--min-accuracy", "0.8", "--force"]
    before = (tmp_path / "store" / "grey.mar").read_bytes()
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "refused: the accuracy on 'test' is 33.3%, below --min-accuracy 0.8" in error
    assert "of 2" in error
    assert (tmp_path / "store" / "grey.mar").read_bytes() == before


def test_a_grey_network_of_ones_own_is_refused_with_the_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = own_words(tmp_path, PLAIN.replace("nn.Conv2d(3,", "nn.Conv2d(1,"))
    assert main([*words, *FAST]) == 1
    assert "its first convolution takes 1 channels: give --mean and --std with 1 values each" in capsys.readouterr().err
    assert main([*words, *FAST, "--mean", ".5", "--std", ".5"]) == 0


def test_the_help_says_how_a_network_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "how the network is found:" in text
    assert text.index("--class NAME names either") < text.index("examples:")

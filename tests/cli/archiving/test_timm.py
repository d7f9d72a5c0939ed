"""Networks of timm, and the copy of timm in their archives."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.archives import parsed_arguments
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.sources import find_source

CPU = torch.device("cpu")


@pytest.mark.parametrize("arch", ["timm:resnet10t", "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"])
def test_a_timm_archive_contains_timm(tmp_path: Path, arch: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    words = ["--model-name", "t", "--arch", arch, "--weights", "none", "--export-path", str(tmp_path)]
    assert main(words) == 0
    mar = tmp_path / "t.mar"
    with zipfile.ZipFile(mar) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "unpacked")
        figures = json.loads(archive.read("self_check.json"))
    assert {"timm/LICENSE", "timm/version.py", "timm/models/_builder.py"} <= names
    assert sum(archive.getinfo(name).compress_size for name in names if name.startswith("timm/")) < 2_000_000
    assert figures["versions"]["timm"] == timm.__version__
    program = """
import sys
class OnlyTheArchive:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("safetensors", "huggingface_hub", "captum"):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, OnlyTheArchive())
from torchserve_saliency.explainer import Explainer
classifier = Explainer.load(sys.argv[1]).classifier
module = type(classifier.network).__init__.__code__.co_filename
assert module.startswith(sys.argv[1]), module
assert "timm" not in sys.modules
print(classifier.labels.names[24], len(classifier.labels.names))
"""
    unpacked_folder = str((tmp_path / "unpacked").resolve())
    words = [sys.executable, "-c", program, unpacked_folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=unpacked_folder)
    assert done.stdout.strip() == "great grey owl 1000", done.stderr


def test_timm_weights_and_preprocessing_are_found(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    state = timm.create_model("resnet10t", num_classes=6).state_dict()
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    source = find_source(parsed_arguments("--arch", "timm:resnet10t", "--weights", str(path)))
    assert source.arguments == {"num_classes": 6}
    assert source.input.size == (176, 176)
    assert source.input.resize == (201,)
    assert source.input.interpolation == "bicubic"
    assert all(torch.equal(value, state[key]) for key, value in source.network.state_dict().items())


def test_timm_pretrained_weights_are_loaded_by_their_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    calls: list[tuple[str, bool]] = []
    create = timm.create_model

    def recording(name: str, pretrained: bool = False, **arguments: object) -> nn.Module:
        calls.append((name, pretrained))
        torch.manual_seed(9)
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", recording)
    source = find_source(parsed_arguments("--arch", "timm:resnet10t", "--weights", "c3_in1k"))
    assert calls[0] == ("resnet10t.c3_in1k", True)
    assert source.arch == "timm:resnet10t.c3_in1k"
    torch.manual_seed(9)
    expected = create("resnet10t").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in source.network.state_dict().items())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--arch", "timm:resnt10t"], "timm has no network 'resnt10t'; did you mean resnet10t"),
        (["--arch", "timm:resnet10t", "--weights", "nothing_in1k"], "no weights 'nothing_in1k': there are c3_in1k"),
        (["--arch", "timm:resnet10t"], "cannot be loaded .*: no route.*timm/resnet10t.c3_in1k"),
    ],
)
def test_an_unknown_network_or_tag_of_timm_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, words: list[str], reason: str
) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **arguments: object) -> nn.Module:
        if pretrained:
            raise ConnectionError("no route")
        network: nn.Module = create(name, **arguments)
        return network

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UsageError, match=reason):
        find_source(parsed_arguments(*words))

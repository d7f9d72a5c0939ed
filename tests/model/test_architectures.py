"""Networks built from a user's file or by name, and the errors for invalid ones."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
import torch

from tests.archives import HEAD, SMALL, laid_out, model_file, returning, scripted, seeded, unpacked
from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.architectures import build_network, scripted_network, timm_module
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency.model.model_file import network_from_file

CPU = torch.device("cpu")


def test_files_of_the_same_name_in_two_archives_do_not_collide(tmp_path: Path) -> None:
    first = unpacked(tmp_path / "a", returning("logits"))
    second = unpacked(tmp_path / "b", returning("logits * 2"))
    x = torch.ones(1, 3, 16, 16)
    one, two = (load_classifier(folder, CPU) for folder in (first, second))
    torch.testing.assert_close(one.forward(x) * 2, two.forward(x))
    assert type(one.network) is not type(two.network)
    assert "net" not in sys.modules


def test_other_classes_in_the_file_are_ignored(tmp_path: Path) -> None:
    code = """
from dataclasses import dataclass

@dataclass
class Sizes:
    width: int = 3

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()

class Net(nn.Module):
    def __init__(self, sizes=Sizes()):
        super().__init__()
"""
    path = tmp_path / "net.py"
    path.write_text(f"from __future__ import annotations\n{HEAD}{code}")
    assert type(network_from_file(path)).__name__ == "Net"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = 1", "exactly one class that is an nn.Module, not 0: none"),
        ("class A(nn.Module): pass\nclass B(nn.Module): pass", "takes no arguments, not 2: A, B"),
        ("class A(nn.Module):\n    def __init__(self, k): pass", "takes no arguments, not 0: A"),
        ("import nowhere", "cannot be imported by itself: No module named 'nowhere'"),
        ("def broken(:", "cannot be imported by itself"),
        ("class A(nn.Module):\n    def __init__(self): 1 / 0", "'A' cannot be built: ZeroDivisionError"),
    ],
)
def test_a_file_without_exactly_one_network_is_an_error(tmp_path: Path, code: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        network_from_file(model_file(tmp_path, code))


@pytest.mark.parametrize(
    ("arch", "reason"),
    [("resnet81", "no classifier 'resnet81'; did you mean resnet18"), ("fcn_resnet50", "no classifier")],
)
def test_an_unknown_name_is_an_error_with_similar_names(arch: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        build_network(arch, {})


def test_a_quantized_name_builds_the_float_network() -> None:
    network = build_network("quantized_mobilenet_v2", {"num_classes": 3}).eval()
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    assert gradient.abs().sum() > 0


def test_timm_in_the_archive_is_preferred_and_unloaded_afterwards(tmp_path: Path) -> None:
    copy = tmp_path / "timm"
    copy.mkdir()
    (copy / "version.py").write_text('__version__ = "0.0.archived"\n')
    (copy / "__init__.py").write_text("from timm.version import __version__\n")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "timm"}
    path = list(sys.path)
    with timm_module(tmp_path) as timm:
        assert timm.__version__ == "0.0.archived"
    assert sys.path == path
    assert {name: module for name, module in sys.modules.items() if name.split(".")[0] == "timm"} == before


def test_an_unknown_name_of_timm_is_an_error_with_similar_names() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    with pytest.raises(ModelError, match="no network 'resnt18'; did you mean resnet18"):
        build_network("timm:resnt18", {})


@pytest.mark.parametrize("arch", ["timm:resnet10t", "timm:vit_tiny_patch16_224"])
def test_timm_networks_load(tmp_path: Path, arch: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    arguments: dict[str, object] = {"num_classes": 4, **({"img_size": 64} if "vit" in arch else {})}
    expected = build_network(arch, arguments).eval()
    handler = {"arch": arch, "arguments": arguments, "input": {**SMALL, "size": [64, 64]}}
    classifier = load_classifier(laid_out(tmp_path, expected.state_dict(), handler), CPU)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(classifier.forward(x), expected(x), rtol=1e-4, atol=1e-4)
    assert classifier.layers.default


def test_a_scripted_network_is_loaded_unchanged_and_without_hooks(tmp_path: Path) -> None:
    eager = load_classifier(unpacked(tmp_path / "eager"), CPU, fold=False)
    folder = laid_out(tmp_path / "scripted", {}, {"input": SMALL})
    scripted(folder / "net.pt", seeded(tmp_path / "eager" / "net.py"))
    classifier = load_classifier(folder, CPU)
    assert (classifier.hookable, classifier.folded, classifier.rectifiers) == (False, 0, 0)
    assert (classifier.layers.names, classifier.layers.default) == ((), None)
    assert not any(p.requires_grad for p in classifier.network.parameters())
    assert not classifier.network.training
    assert classifier.row_bytes() > 0
    x = torch.ones(2, 3, 16, 16)
    torch.testing.assert_close(classifier.forward(x), eager.forward(x))


def test_a_state_dict_or_pickled_network_is_no_scripted_network(tmp_path: Path) -> None:
    network = seeded(model_file(tmp_path))
    for saved in (network.state_dict(), network):
        torch.save(saved, tmp_path / "net.pt")
        with pytest.raises(ModelError, match=r"'net\.pt' is no TorchScript network"):
            scripted_network(tmp_path / "net.pt")


def test_a_damaged_script_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/code/net.py", "nothing")
    with pytest.raises(ModelError, match=r"'net\.pt' cannot be read as TorchScript: RuntimeError"):
        scripted_network(path)

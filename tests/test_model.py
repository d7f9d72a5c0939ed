"""Archives to classifiers: networks, weights, logits, labels, preprocessing."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision import models

from saliency.errors import ModelError
from saliency.logits import find_logits, take_logits
from saliency.model import load_classifier
from saliency.networks import build_network, own_network, timm_module
from saliency.unpacked import Limits
from saliency.weights import fill, read_state
from tests.archives import HEAD, PLAIN, SMALL, laid_out, model_file, returning, seeded, unpacked

CPU = torch.device("cpu")
LOGITS = torch.arange(8.0).view(2, 4)
Outputs = namedtuple("Outputs", ["logits", "aux"])  # as torchvision's named outputs are


def loaded_plain(folder: Path, **options: bool) -> tuple[nn.Module, torch.Tensor]:
    classifier = load_classifier(unpacked(folder), CPU, **options)
    return classifier.network, classifier.forward(torch.ones(2, 3, 16, 16))


# --- an archive becomes a classifier


def test_a_classifier_is_frozen_folded_and_says_what_it_is(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, method="grad_cam", alpha=0.5, limits={"max_pixels": 1000})
    (folder / "self_check.json").write_text('{"directions": 5}')
    (folder / "index_to_name.json").write_text(json.dumps({str(i): f"class {i}" for i in range(4)}))
    classifier = load_classifier(folder, CPU)
    assert (classifier.name, classifier.version) == ("net", "1.0")
    assert not classifier.network.training
    assert not any(p.requires_grad for p in classifier.network.parameters())
    assert classifier.folded == 1
    assert classifier.labels.names == ("class 0", "class 1", "class 2", "class 3")
    assert classifier.input.size == (16, 16)
    assert classifier.input.std == (0.25, 0.25, 0.25)
    assert classifier.rectifiers == 1
    assert classifier.layers.default == "conv"
    assert classifier.defaults == {"method": "grad_cam", "alpha": 0.5}
    assert classifier.limits == Limits(max_pixels=1000)
    assert classifier.self_check == {"directions": 5}


def test_the_loaded_network_answers_as_the_one_that_was_saved(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    x = torch.randn(3, 3, 16, 16)
    expected = seeded(folder / "net.py").eval()(x)
    torch.testing.assert_close(load_classifier(folder, CPU).forward(x), expected, rtol=1e-5, atol=1e-6)
    plain = load_classifier(folder, CPU, fold=False, channels_last=False)
    assert plain.folded == 0
    assert plain.memory_format is torch.contiguous_format
    torch.testing.assert_close(plain.forward(x), expected, rtol=0, atol=0)


def test_a_network_in_double_is_served_in_single(tmp_path: Path) -> None:
    code = PLAIN.replace("self.head = nn.Linear(6, 4)", "self.head = nn.Linear(6, 4)\n        self.double()")
    folder = unpacked(tmp_path, code)
    assert torch.load(folder / "net.pt")["head.weight"].dtype == torch.float64
    assert {p.dtype for p in load_classifier(folder, CPU).network.parameters()} == {torch.float32}


@pytest.mark.parametrize(("count", "expected"), [(2, ("a", "a", "2", "3")), (6, ("a", "a", "a", "a"))])
def test_a_wrong_number_of_labels_is_warned_of_and_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int, expected: tuple[str, ...]
) -> None:
    folder = unpacked(tmp_path)
    (folder / "index_to_name.json").write_text(json.dumps({str(i): "a" for i in range(count)}))
    with caplog.at_level(logging.WARNING):
        assert load_classifier(folder, CPU).labels.names == expected
    assert f"{count} labels for 4 classes" in caplog.text


def test_without_labels_classes_are_named_by_their_index(tmp_path: Path) -> None:
    assert load_classifier(unpacked(tmp_path), CPU).labels.names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        ({"input": {**SMALL, "crop": 3}}, "section 'input' .* has no 'crop'"),
        ({"input": {**SMALL, "std": [0.5]}}, "preprocessing is wrong"),
        ({"limits": {"max_rows": 3}}, "section 'limits' .* has no 'max_rows'"),
        ({"logits": "logits"}, "puts out no 'logits', but float32 \\[2, 4\\]"),
        ({"input": {**SMALL, "mean": [0.5], "std": [0.5]}}, "fails on an input \\[2, 1, 16, 16\\]: RuntimeError"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_reason(
    tmp_path: Path, handler: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        load_classifier(unpacked(tmp_path, PLAIN, **handler), CPU)


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no archive"):
        load_classifier(tmp_path, CPU)


def test_a_torchvision_network_is_built_by_name_with_its_arguments(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = models.resnet18(num_classes=7).eval()
    handler: dict[str, object] = {
        "arch": "resnet18",
        "arguments": {"num_classes": 7},
        "input": {**SMALL, "size": [64, 64]},
    }
    classifier = load_classifier(laid_out(tmp_path, expected.state_dict(), handler), CPU)
    x = torch.randn(2, 3, 64, 64)
    assert classifier.folded == 20
    torch.testing.assert_close(classifier.forward(x), expected(x), rtol=1e-4, atol=1e-4)


# --- the user's own network


def test_two_archives_whose_files_have_one_name_do_not_meet(tmp_path: Path) -> None:
    first = unpacked(tmp_path / "a", returning("logits"))
    second = unpacked(tmp_path / "b", returning("logits * 2"))
    x = torch.ones(1, 3, 16, 16)
    one, two = (load_classifier(folder, CPU) for folder in (first, second))
    torch.testing.assert_close(one.forward(x) * 2, two.forward(x))
    assert type(one.network) is not type(two.network)
    assert "net" not in sys.modules


def test_helpers_beside_the_network_are_no_obstacle(tmp_path: Path) -> None:
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
    assert type(own_network(path)).__name__ == "Net"


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
def test_a_file_without_one_network_is_refused_with_the_reason(tmp_path: Path, code: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        own_network(model_file(tmp_path, code))


# --- networks by name


@pytest.mark.parametrize(
    ("arch", "reason"),
    [("resnet81", "no classifier 'resnet81'; did you mean resnet18"), ("fcn_resnet50", "no classifier")],
)
def test_an_unknown_name_is_refused_with_near_ones(arch: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        build_network(arch, {})


def test_a_quantized_name_is_the_float_network() -> None:
    network = build_network("quantized_mobilenet_v2", {"num_classes": 3}).eval()
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    assert gradient.abs().sum() > 0


def test_timm_in_the_archive_comes_before_the_installed_one_and_leaves_no_trace(tmp_path: Path) -> None:
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


def test_a_timm_name_that_is_unknown_is_refused_with_near_ones() -> None:
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


# --- weights


def saved(path: Path, held: object) -> Path:
    torch.save(held, path)
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
    ("held", "reason"),
    [
        (nn.Linear(3, 2), "not a state dict that can be read safely"),
        ({"epoch": 3}, "holds no state dict .* but a mapping with 'epoch'"),
        (torch.zeros(3), "holds no state dict .* but a Tensor"),
        ({}, "holds no state dict"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, held: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        read_state(saved(tmp_path / "w.pt", held))


def test_a_file_of_anything_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match=r"'w\.pt' is not a state dict"):
        read_state(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # tracing goes out of use; its files do not
def test_a_script_module_is_refused_with_why(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)).save(str(path))
    with pytest.raises(ModelError, match="ScriptModule: it refuses the hooks"):
        read_state(path)


def test_weights_that_do_not_fit_name_the_first_that_do_not() -> None:
    state = nn.Sequential(nn.Linear(3, 2)).state_dict() | {"1.scale": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"they lack 1\.weight, 1\.bias; they hold besides 1\.scale$"):
        fill(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), state)
    with pytest.raises(ModelError, match=r"in another shape weight \[2, 3\] for \[2, 4\]"):
        fill(nn.Linear(4, 2), nn.Linear(3, 2).state_dict())


def test_weights_older_than_the_count_of_batches_fit() -> None:
    norm = nn.BatchNorm2d(3)
    fill(norm, {key: value + 1 for key, value in norm.state_dict().items() if key != "num_batches_tracked"})
    assert norm.running_mean is not None
    assert bool((norm.running_mean == 1).all())


@pytest.mark.parametrize("plain", [True, False])
def test_versions_of_layouts_travel_with_the_weights(tmp_path: Path, plain: bool) -> None:
    network = models.mnasnet0_5(num_classes=2)
    state = dict(network.state_dict()) if plain else network.state_dict()
    fill(models.mnasnet0_5(num_classes=2), read_state(saved(tmp_path / "w.pt", state)))


# --- logits


@pytest.mark.parametrize(
    ("output", "wanted", "choice"),
    [
        (LOGITS, None, None),
        ((LOGITS, LOGITS * 2), None, 0),
        ([torch.zeros(2, 3, 4, 4), LOGITS], None, 1),
        ((LOGITS * 2, LOGITS), 1, 1),
        (OrderedDict(features=LOGITS * 2, logits=LOGITS), None, "logits"),
        ({"aux": LOGITS * 2, "out": LOGITS}, None, "out"),
        ({"loss": torch.tensor(1.0), "anything": LOGITS}, None, "anything"),
        ({"a": LOGITS * 2, "b": LOGITS}, "b", "b"),
        (Outputs(LOGITS, LOGITS * 2), None, "logits"),
        (models.GoogLeNetOutputs(LOGITS, None, None), None, "logits"),
        (SimpleNamespace(loss=None, logits=LOGITS), None, "logits"),
    ],
)
def test_the_logits_are_found_and_taken(output: object, wanted: str | int | None, choice: str | int | None) -> None:
    found = find_logits(output, 2, wanted)
    assert found == choice
    assert take_logits(output, found) is LOGITS


@pytest.mark.parametrize(
    ("output", "wanted", "reason"),
    [
        (torch.zeros(2), None, r"no output is float logits \[2, classes\] for 2 pictures: float32 \[2\]"),
        (torch.zeros(4, 4), None, r"float32 \[4, 4\]"),
        (torch.zeros(2, 4, dtype=torch.int64), None, r"int64 \[2, 4\]"),
        ({"boxes": torch.zeros(2, 3, 4)}, None, r"'boxes': float32 \[2, 3, 4\]"),
        (None, None, "nothing that holds tensors"),
        ("text", None, "nothing that holds tensors"),
        ((LOGITS,), 1, r"puts out no 1, but 0: float32 \[2, 4\]"),
        ({"a": LOGITS, "b": "text"}, "b", "output 'b' is str, not float logits"),
    ],
)
def test_an_output_without_logits_is_refused(output: object, wanted: str | int | None, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        find_logits(output, 2, wanted)


@pytest.mark.parametrize(
    ("expression", "choice"),
    [("(logits[..., None], logits)", 1), ("{'embedding': x.mean((2, 3)), 'logits': logits}", "logits")],
)
def test_a_network_with_several_outputs_is_explained_by_its_logits(
    tmp_path: Path, expression: str, choice: str | int
) -> None:
    x = torch.randn(2, 3, 16, 16)
    plain = load_classifier(unpacked(tmp_path / "plain"), CPU)
    classifier = load_classifier(unpacked(tmp_path / "several", returning(expression)), CPU)
    assert classifier.logits == choice
    assert classifier.folded == 1
    torch.testing.assert_close(classifier.forward(x), plain.forward(x), rtol=1e-5, atol=1e-6)


# --- what a server has


def test_loading_needs_no_more_than_the_stock_image_has(tmp_path: Path) -> None:
    """A fresh process without timm, safetensors, captum and TorchServe loads and explains."""
    program = """
import sys
for absent in ("timm", "safetensors", "huggingface_hub", "captum", "ts", "scipy", "hypothesis", "requests"):
    sys.modules[absent] = None
sys.path.insert(0, sys.argv[1])
import saliency_handler
from saliency.explainer import Explainer
from PIL import Image
import io
file = io.BytesIO()
Image.new("RGB", (20, 30), "red").save(file, "png")
for folder in sys.argv[2:]:
    print(Explainer.load(folder).explain(file.getvalue()).maps[0].saliency.shape)
"""
    handlers = Path(__file__).resolve().parents[1] / "handlers"
    folders = [str(unpacked(tmp_path))]
    words = [sys.executable, "-c", program, str(handlers), *folders]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.stdout.split("\n")[0] == "(16, 16)", ran.stderr

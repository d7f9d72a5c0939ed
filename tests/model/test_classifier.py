"""Classifiers loaded from archives, their forward functions, and the errors for invalid archives."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.archives import PLAIN, SMALL, laid_out, seeded, unpacked
from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.acceleration.compilation import compile_network
from torchserve_saliency.model.acceleration.precision import Precision
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency.model.heads import Heads

CPU = torch.device("cpu")


def test_a_classifier_is_frozen_and_folded_and_describes_itself(tmp_path: Path) -> None:
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


def test_the_loaded_network_has_the_logits_of_the_saved_one(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    x = torch.randn(3, 3, 16, 16)
    expected = seeded(folder / "net.py").eval()(x)
    torch.testing.assert_close(load_classifier(folder, CPU).forward(x), expected, rtol=1e-5, atol=1e-6)
    plain = load_classifier(folder, CPU, fold=False, channels_last=False)
    assert plain.folded == 0
    assert plain.memory_format is torch.contiguous_format
    torch.testing.assert_close(plain.forward(x), expected, rtol=0, atol=0)


def test_the_forward_function_of_a_plain_classifier_is_the_network_itself(tmp_path: Path) -> None:
    classifier = load_classifier(unpacked(tmp_path), CPU)
    assert classifier.forward is classifier.network
    assert classifier.forward_plain is classifier.network


@pytest.mark.usefixtures("compiled_at_any_speed")
def test_a_replaced_classifier_has_its_own_forward_function(tmp_path: Path) -> None:
    plain = load_classifier(unpacked(tmp_path / "plain"), CPU)
    x = torch.randn(2, 3, 16, 16)
    logits = plain.forward(x)
    doubled = replace(plain, network=nn.Sequential(plain.network, Doubled()))
    torch.testing.assert_close(doubled.forward(x), logits * 2)
    second = replace(plain.heads.default, key=1)
    keyed = replace(plain, network=nn.Sequential(plain.network, Listed()), heads=Heads((second,), second))
    torch.testing.assert_close(keyed.forward(x), logits)
    compiled = replace(plain, compiled=compile_network(plain.forward, {"backend": "eager"}, x, Precision()))
    assert compiled.forward_plain is not plain.forward_plain
    assert compiled.bare().forward_plain is plain.network
    reduced = replace(plain, precision=Precision("bf16"))
    assert reduced.forward is not plain.network
    assert reduced.bare().forward is plain.network


class Doubled(nn.Module):
    """Twice its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Listed(nn.Module):
    """A list of several outputs, the second of which is the input."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x.mean(1), x]


def test_a_float64_network_is_converted_to_float32(tmp_path: Path) -> None:
    code = PLAIN.replace("self.head = nn.Linear(6, 4)", "self.head = nn.Linear(6, 4)\n        self.double()")
    folder = unpacked(tmp_path, code)
    assert torch.load(folder / "net.pt")["head.weight"].dtype == torch.float64
    assert {p.dtype for p in load_classifier(folder, CPU).network.parameters()} == {torch.float32}


@pytest.mark.parametrize(("count", "expected"), [(2, ("a", "a", "2", "3")), (6, ("a", "a", "a", "a"))])
def test_a_wrong_number_of_labels_is_corrected_with_a_warning(
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
        ({"input": {**SMALL, "std": [0.5]}}, "preprocessing is invalid"),
        ({"limits": {"max_rows": 3}}, "section 'limits' .* has no 'max_rows'"),
        ({"logits": "logits"}, "has no output 'logits'; it has float32 \\[2, 4\\]"),
        ({"input": {**SMALL, "mean": [0.5], "std": [0.5]}}, "fails on an input \\[2, 1, 16, 16\\]: RuntimeError"),
    ],
)
def test_an_invalid_configuration_is_an_error_with_the_reason(
    tmp_path: Path, handler: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        load_classifier(unpacked(tmp_path, PLAIN, **handler), CPU)


def test_a_folder_without_an_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no archive"):
        load_classifier(tmp_path, CPU)


def test_a_torchvision_network_is_built_by_its_name_and_arguments(tmp_path: Path) -> None:
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


def test_loading_needs_no_more_than_the_packages_of_the_torchserve_image(tmp_path: Path) -> None:
    """A process without timm, safetensors, captum and TorchServe loads an archive and explains."""
    program = """
import sys
for absent in ("timm", "safetensors", "huggingface_hub", "captum", "ts", "scipy", "hypothesis", "requests"):
    sys.modules[absent] = None
sys.path.insert(0, sys.argv[1])
import saliency_handler
from torchserve_saliency.explainer import Explainer
from PIL import Image
import io
file = io.BytesIO()
Image.new("RGB", (20, 30), "red").save(file, "png")
for folder in sys.argv[2:]:
    print(Explainer.load(folder).explain(file.getvalue()).maps[0].saliency.shape)
"""
    handlers = Path(__file__).resolve().parents[2] / "handlers"
    folders = [str(unpacked(tmp_path))]
    words = [sys.executable, "-c", program, str(handlers), *folders]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.stdout.split("\n")[0] == "(16, 16)", ran.stderr

"""Archives to classifiers: frozen, folded, labelled, or refused with the reason."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision import models

from saliency.errors import ModelError
from saliency.model import load_classifier
from saliency.unpacked import Limits
from tests.archives import PLAIN, SMALL, laid_out, seeded, unpacked

CPU = torch.device("cpu")


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

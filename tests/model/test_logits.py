"""The logits within the output of a network."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchvision import models

from tests.archives import returning, unpacked
from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency.model.logits import find_logits, take_logits

CPU = torch.device("cpu")
LOGITS = torch.arange(8.0).view(2, 4)
Outputs = namedtuple("Outputs", ["logits", "aux"])  # as torchvision's named outputs are


@pytest.mark.parametrize(
    ("output", "wanted", "key"),
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
def test_the_logits_are_found_and_taken(output: object, wanted: str | int | None, key: str | int | None) -> None:
    found = find_logits(output, 2, wanted)
    assert found == key
    assert take_logits(output, found) is LOGITS


@pytest.mark.parametrize(
    ("output", "wanted", "reason"),
    [
        (
            torch.zeros(3),
            None,
            r"no output is float logits \[2, classes\] for 2 pictures; the network has float32 \[3\]",
        ),
        (torch.zeros(2, 4, 7, 7), None, r"float32 \[2, 4, 7, 7\]"),
        (torch.zeros(4, 4), None, r"float32 \[4, 4\]"),
        (torch.zeros(2, 4, dtype=torch.int64), None, r"int64 \[2, 4\]"),
        ({"boxes": torch.zeros(2, 3, 4)}, None, r"'boxes': float32 \[2, 3, 4\]"),
        (None, None, "no tensor in its output"),
        ("text", None, "no tensor in its output"),
        ((LOGITS,), 1, r"has no output 1; it has 0: float32 \[2, 4\]"),
        ({"a": LOGITS, "b": "text"}, "b", "output 'b' is str, not float logits"),
    ],
)
def test_an_output_without_logits_is_an_error(output: object, wanted: str | int | None, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        find_logits(output, 2, wanted)


@pytest.mark.parametrize(
    ("expression", "key"),
    [("(logits[..., None], logits)", 1), ("{'embedding': x.mean((2, 3)), 'logits': logits}", "logits")],
)
def test_a_network_with_several_outputs_is_explained_by_its_logits(
    tmp_path: Path, expression: str, key: str | int
) -> None:
    x = torch.randn(2, 3, 16, 16)
    plain = load_classifier(unpacked(tmp_path / "plain"), CPU)
    classifier = load_classifier(unpacked(tmp_path / "several", returning(expression)), CPU)
    assert classifier.heads.default.key == key
    assert classifier.folded == 1
    torch.testing.assert_close(classifier.forward(x), plain.forward(x), rtol=1e-5, atol=1e-6)

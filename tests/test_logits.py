"""Where the logits stand in what a network puts out."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchvision import models

from saliency.errors import ModelError
from saliency.logits import find_logits, take_logits
from saliency.model import load_classifier
from tests.archives import returning, unpacked

CPU = torch.device("cpu")
LOGITS = torch.arange(8.0).view(2, 4)
Outputs = namedtuple("Outputs", ["logits", "aux"])  # as torchvision's named outputs are


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

"""Networks of open_clip, with texts as their classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.leaves.draw import draw

TEXTS = ("a leaf with scab", "a leaf with rust", "a healthy leaf")
PICTURE = draw(4, ["rust", "scab"]).image
NAME = "small-of-the-tests"


@pytest.fixture
def open_clip(tmp_path: Path) -> Any:
    """Return the package with one small network more; skip the test if it is not installed."""
    package = pytest.importorskip("open_clip", reason="the test needs the package open_clip (extra openclip)")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / f"{NAME}.json").write_text(json.dumps(config), encoding="utf-8")
    package.add_model_config(tmp_path / f"{NAME}.json")
    return package


def run(folder: Path, *words: object) -> int:
    """Run the archiving command for the small network."""
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    common = ("--model-name", "net", "--export-path", folder, "--force", "--sanity", "off", "--directions", "1")
    return main([str(word) for word in (*common, *words)])


def test_the_probabilities_are_those_of_the_package(open_clip: Any, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network, _, preprocess = open_clip.create_model_and_transforms(NAME)
    torch.save(network.eval().state_dict(), tmp_path / "net.pt")
    words = ("--arch", f"openclip:{NAME}", "--weights", tmp_path / "net.pt", "--template", "{}.")
    assert run(tmp_path, *words, "--labels", tmp_path / "texts.txt") == 0
    explanation = Explainer.load(tmp_path / "net.mar").explain(PICTURE, target=1, method="grad_cam")
    tokens = open_clip.get_tokenizer(NAME)([f"{text}." for text in TEXTS])
    with torch.no_grad():
        pictures, texts, scale = network(preprocess(PICTURE)[None], tokens)
    expected = (scale * pictures @ texts.T).softmax(1)[0].tolist()
    found = {entry.label: entry.probability for entry in explanation.predictions}
    assert found == pytest.approx(dict(zip(TEXTS, expected, strict=True)), abs=1e-5)
    assert explanation.maps[0].saliency.shape == (64, 64)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arch", f"openclip:{NAME}", "--weights", "none"), "--labels"),
        (("--arch", "openclip:ViT-B-3", "--labels", "texts.txt"), "did you mean"),
        (("--arch", "openclip:ViT-B-32", "--labels", "texts.txt"), "laion2b_s34b_b79k"),
    ],
)
def test_a_wrong_name_is_a_usage_error(
    words: tuple[str, ...], message: str, open_clip: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *(str(tmp_path / word) if word == "texts.txt" else word for word in words)) == 2
    assert message in capsys.readouterr().err

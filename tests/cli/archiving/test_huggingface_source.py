"""Archives of Hugging Face classifiers answer as the pipeline of transformers does, without transformers."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tools.huggingface.networks import CLASSES, classifier
from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.leaves.draw import draw

PROCESSORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ViT": ("ViTImageProcessor", {"size": {"height": 64, "width": 64}}),
    "Beit": ("BeitImageProcessor", {"size": {"height": 64, "width": 64}, "do_center_crop": False}),
    "Swin": ("ViTImageProcessor", {"size": {"height": 64, "width": 64}, "image_mean": [0.485, 0.456, 0.406]}),
    "ConvNext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}}),
    "MobileViT": ("MobileViTImageProcessor", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}),
    "EfficientNet": ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}}),
}
NAMES = tuple(f"kind {index}" for index in range(CLASSES))
PICTURE = draw(4, ["rust", "scab"]).image.resize((150, 97))


def transformers_package() -> Any:
    """Return the package transformers; skip the test if it is not installed."""
    return pytest.importorskip("transformers", reason="the test needs the package transformers (extra hf)")


def saved(folder: Path, name: str, labels: tuple[str, ...] = NAMES, **config: object) -> Any:
    """Write a classifier with its processor to a folder, as transformers does, and return it."""
    package = transformers_package()
    network = classifier(name)
    network.config.update({"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}})
    network.config.update(config)
    network.save_pretrained(folder)
    kind, arguments = PROCESSORS[name]
    getattr(package, kind)(**arguments).save_pretrained(folder)
    return network


def run(folder: Path, *words: object) -> int:
    """Run the archiving command for the classifier in a folder."""
    common = ("--model-name", "net", "--export-path", folder, "--force", "--sanity", "off", "--directions", "1")
    return main([str(word) for word in (*common, "--arch", f"hf:{folder}", *words)])


def archived(folder: Path, *words: object) -> Explainer:
    """Archive the classifier in a folder, and return the explainer of the archive."""
    assert run(folder, *words) == 0
    return Explainer.load(folder / "net.mar")


def pipeline_scores(folder: Path) -> dict[str, float]:
    """Return the probabilities of the pipeline of transformers for PICTURE."""
    pipe = transformers_package().pipeline("image-classification", model=str(folder), top_k=CLASSES)
    return {entry["label"]: entry["score"] for entry in pipe(PICTURE)}


def our_scores(explainer: Explainer) -> dict[str, float]:
    explanation = explainer.explain(PICTURE, top_k=CLASSES, render="none")
    return {entry.label: entry.probability for entry in explanation.predictions}


def assert_agreement(ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    for name, score in theirs.items():
        assert ours[name] == pytest.approx(score, abs=1e-4), name


@pytest.mark.parametrize("name", PROCESSORS)
def test_an_archive_agrees_with_the_pipeline(name: str, tmp_path: Path) -> None:
    saved(tmp_path, name)
    explainer = archived(tmp_path)
    theirs = pipeline_scores(tmp_path)
    assert max(theirs.values()) - min(theirs.values()) > 1e-3
    assert_agreement(our_scores(explainer), theirs)


def test_the_default_map_is_the_gradient_of_the_network_of_transformers(tmp_path: Path) -> None:
    network = saved(tmp_path, "ViT").double()
    explainer = archived(tmp_path)
    processor = transformers_package().AutoImageProcessor.from_pretrained(tmp_path)
    x = processor(PICTURE, return_tensors="pt")["pixel_values"].double().requires_grad_()
    network(pixel_values=x).logits[0, 3].backward()
    expected = x.grad[0].abs().amax(0).numpy()
    ours = explainer.explain(PICTURE, target=3).maps[0].saliency
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_the_archive_holds_no_transformers_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, "ViT")
    assert run(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "needs torch alone" in printed
    assert "ViTForImageClassification of transformers" in printed
    with zipfile.ZipFile(tmp_path / "net.mar") as mar:
        assert "transformers" not in {name.split("/")[0] for name in mar.namelist()}
        assert "arch" not in yaml.safe_load(mar.read("model-config.yaml"))["handler"]
        assert str(tmp_path) not in mar.read("network.py").decode()
    monkeypatch.setitem(sys.modules, "transformers", None)  # every import of it fails
    assert our_scores(Explainer.load(tmp_path / "net.mar")).keys() == set(NAMES)


@pytest.mark.parametrize("method", ["deep_lift", "attention_rollout", "grad_cam", "lrp"])
def test_methods_with_rules_of_their_own_work_on_a_transformer(
    method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "huggingface-methods"
    if not (folder / "net.mar").exists():
        saved(folder, "ViT")
        assert run(folder) == 0
    saliency = Explainer.load(folder / "net.mar").explain(PICTURE, method=method).maps[0].saliency
    assert np.isfinite(saliency).all()
    assert np.ptp(saliency) > 0


def test_a_multi_label_classifier_gets_sigmoids(tmp_path: Path) -> None:
    saved(tmp_path, "ConvNext", problem_type="multi_label_classification")
    explainer = archived(tmp_path)
    theirs = pipeline_scores(tmp_path)
    assert sum(theirs.values()) > 1.5
    assert_agreement(our_scores(explainer), theirs)


def test_unnamed_classes_are_unnamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, "ConvNext", tuple(f"LABEL_{i}" for i in range(CLASSES)))
    assert run(tmp_path) == 0
    assert "unnamed" in capsys.readouterr().out


def test_weights_of_a_training_are_read_under_either_names(tmp_path: Path) -> None:
    """Lightning saves the names in memory behind a prefix, and transformers saves names of its own."""
    network = saved(tmp_path, "ViT")
    expected = our_scores(archived(tmp_path))
    in_memory = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": in_memory, "epoch": 3}, tmp_path / "last.ckpt")
    as_saved = {f"model.{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    torch.save({"state_dict": as_saved}, tmp_path / "other.ckpt")
    assert in_memory.keys() != as_saved.keys()
    for file in ("last.ckpt", "other.ckpt"):
        assert_agreement(our_scores(archived(tmp_path, "--weights", tmp_path / file)), expected)


def test_a_network_without_a_trained_classifier_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, "ViT").vit.save_pretrained(tmp_path)
    assert run(tmp_path) == 2
    assert "classifier.weight" in capsys.readouterr().err
    assert not (tmp_path / "net.mar").exists()
    assert run(tmp_path, "--weights", "none", "--num-classes", "3") == 0


def test_another_number_of_classes_than_that_of_the_weights_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "ConvNext")
    assert run(tmp_path, "--num-classes", "5") == 2
    assert "--num-classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("preprocessor_config.json", "--mean"),
    ],
)
def test_a_missing_file_is_named(missing: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, "ConvNext")
    (tmp_path / missing).unlink()
    assert run(tmp_path) == 2
    assert words in capsys.readouterr().err


def test_the_command_line_replaces_a_missing_preprocessing(tmp_path: Path) -> None:
    saved(tmp_path, "ConvNext")
    (tmp_path / "preprocessor_config.json").unlink()
    assert run(tmp_path, "--input-size", "64", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5") == 0


def test_an_input_of_a_size_that_the_network_does_not_take_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "ViT")
    assert run(tmp_path, "--input-size", "96") == 1
    assert "64*64" in capsys.readouterr().err


def test_a_network_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = transformers_package()
    package.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20).save_pretrained(
        tmp_path
    )
    package.ViTImageProcessor().save_pretrained(tmp_path)
    assert run(tmp_path, "--weights", "none") == 2
    assert "no image classifier" in capsys.readouterr().err


def test_without_transformers_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert run(tmp_path) == 2
    assert "torchserve-saliency[hf]" in capsys.readouterr().err


def test_a_network_of_pictures_and_texts_has_the_texts_as_classes(tmp_path: Path) -> None:
    """SigLIP compares a picture with each text by itself; the pipeline for zero-shot classification agrees."""
    package = transformers_package()
    zero_shot(package, tmp_path)
    (tmp_path / "labels.txt").write_text("owl\ntoucan\nzebra\n", encoding="utf-8")
    explainer = archived(tmp_path, "--labels", tmp_path / "labels.txt")
    pipe = package.pipeline("zero-shot-image-classification", model=str(tmp_path))
    theirs = {entry["label"]: entry["score"] for entry in pipe(PICTURE, candidate_labels=["owl", "toucan", "zebra"])}
    assert_agreement(our_scores(explainer), theirs)


def test_texts_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zero_shot(transformers_package(), tmp_path)
    assert run(tmp_path) == 2
    assert "--labels" in capsys.readouterr().err


def zero_shot(package: Any, folder: Path) -> None:
    """Write a small random CLIP with a tokenizer of a few words to a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<s>", "</s>", "<pad>", "<unk>", *["this", "is", "a", "photo", "of", "owl", "toucan", "zebra", "."]]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    package.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    common = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = package.CLIPConfig(
        vision_config={**common, "image_size": 64, "patch_size": 16},
        text_config={**common, "vocab_size": len(words), "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 2},
        projection_dim=16,
    )
    torch.manual_seed(0)
    package.CLIPModel(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    package.CLIPImageProcessor(**size).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "clip"

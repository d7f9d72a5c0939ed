"""The flags that say what the outputs are: --activation, and --labels for one output or several (A2, A3, C8)."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from tests.archives import own_words, returning
from torchserve_saliency.explainer import Explainer
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.command_line import read_arguments
from torchserve_saliency_cli.archiving.flags import activation

TWO_HEADS = returning("{'species': logits, 'disease': logits[:, :2] * 2}")


def write(folder: Path, name: str, *labels: str) -> str:
    path = folder / name
    path.write_text("\n".join(labels))
    return str(path)


def archived(folder: Path, code: str, *flags: str) -> Explainer:
    assert main([*own_words(folder, code), "--sanity", "off", *flags]) == 0
    return Explainer.load(folder / "store" / "small.mar")


def test_c8_one_archive_has_the_labels_and_the_activation_of_each_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    species, disease = write(tmp_path, "s.txt", *"abcd"), write(tmp_path, "d=.json")
    Path(disease).write_text(json.dumps(["rust", "scab"]))
    made = archived(
        tmp_path, TWO_HEADS, "--labels", f"species={species},disease={disease}", "--activation", "disease=sigmoid"
    )
    assert [(head.name, head.labels.names, head.activation.name) for head in made.classifier.heads] == [
        ("species", ("a", "b", "c", "d"), "softmax"),
        ("disease", ("rust", "scab"), "sigmoid"),
    ]
    assert made.classifier.heads.default.name == "species"
    assert "head        disease: 2 classes, sigmoid" in capsys.readouterr().out


def test_c8_the_default_head_is_that_of_logits_or_of_the_archives_default(tmp_path: Path) -> None:
    assert archived(tmp_path / "a", TWO_HEADS, "--logits", "disease").classifier.heads.default.name == "disease"
    made = archived(tmp_path / "b", TWO_HEADS, "--head", "disease")
    assert (made.classifier.heads.default.name, made.classifier.defaults["head"]) == ("species", "disease")


@pytest.mark.parametrize(
    ("labels", "names"), [((), ("negative", "positive")), (("scab",), ("not scab", "scab")), (("a", "b"), ("a", "b"))]
)
def test_a2_a_single_logit_takes_two_labels_or_one(
    tmp_path: Path, labels: tuple[str, ...], names: tuple[str, ...]
) -> None:
    flags = ("--labels", write(tmp_path, "l.txt", *labels)) if labels else ()
    made = archived(tmp_path, returning("logits[:, 0]"), *flags)
    assert made.classifier.labels.names == names
    assert made.classifier.heads.default.activation.name == "sigmoid"


def test_a3_a_single_probability_takes_one_label(tmp_path: Path) -> None:
    flags = ("--labels", write(tmp_path, "l.txt", "scab"), "--activation", "none")
    made = archived(tmp_path, returning("logits[:, :1].sigmoid()"), *flags)
    assert made.classifier.labels.names == ("not scab", "scab")


@pytest.mark.parametrize(
    ("expression", "flags", "status", "message"),
    [
        ("logits.softmax(1)", [], 1, "add up to 1 for every picture.*: --activation none"),
        ("logits[:, 0].sigmoid()", [], 1, "ends in a sigmoid.*: --activation none"),
        ("logits[:, 0]", ["--activation", "softmax"], 1, "must be sigmoid, or none"),
        ("logits", ["--activation", "leaf=sigmoid"], 1, "there is no head 'leaf'; this network has logits"),
        ("logits[:, 0]", ["--labels", "3"], 2, "3 labels for 2 classes"),
        ("logits", ["--labels", "3"], 2, "3 labels for 4 classes"),
        ("{'a': logits, 'b': logits}", ["--labels", "a=4,b=3"], 2, "3 labels for 4 classes of output 'b'"),
        ("{'a': logits, 'b': logits}", ["--labels", "a=4,c=3"], 1, "there is no head 'c'; this network has a, b"),
        ("{'a': logits, 'b': logits}", ["--labels", "a=4,b=nothing.txt"], 2, "nothing.txt' cannot be read"),
        ("logits", ["--head", "leaf"], 1, "there is no head 'leaf'"),
    ],
)
def test_flags_that_do_not_fit_the_outputs_are_refused_with_those_that_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    expression: str,
    flags: list[str],
    status: int,
    message: str,
) -> None:
    words = own_words(tmp_path, returning(expression))
    monkeypatch.chdir(tmp_path)
    for count in (3, 4):
        write(tmp_path, str(count), *map(str, range(count)))
    assert main([*words, "--sanity", "off", *flags]) == status
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "store" / "small.mar").exists()


def test_an_unknown_activation_is_an_error_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*own_words(tmp_path), "--activation", "relu"])
    assert "'relu' is not one of softmax, sigmoid, none" in capsys.readouterr().err


def test_activations_are_read_in_any_case_and_an_output_is_named_once(tmp_path: Path) -> None:
    assert activation("Sigmoid") == "sigmoid"
    assert activation("a=Softmax, b=NONE") == {"a": "softmax", "b": "none"}
    with pytest.raises(ArgumentTypeError, match="names an output twice"):
        activation("a=none,a=sigmoid")
    with pytest.raises(UsageError, match=r"--labels: .* names an output twice"):
        read_arguments([*own_words(tmp_path), "--labels", "a=x.txt,a=y.txt"])

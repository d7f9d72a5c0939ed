"""The command `archive`: accepted and refused command lines, and the contents of the archives."""

import json
import re
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.archives import model_file, own_words, parsed_arguments, returning, scripted, seeded
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Need, Shows
from torchserve_saliency.model.archive import Limits
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.pictures import generated_picture
from torchserve_saliency_cli.archiving.sources import find_source

CPU = torch.device("cpu")


def test_an_archive_is_complete_and_checked_and_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\ndog\n")
    words = [*own_words(tmp_path), "--labels", str(labels), "--version", "2.1", "--mean", "0.5,0.5,0.5"]
    words += ["--std", "0.25,0.25,0.25", "--method", "grad_cam", "--alpha", "0.4", "--top-k", "3", "--target", "bee"]
    words += ["--batch-size", "4", "--max-batch-delay", "9", "--workers", "2", "--response-timeout", "70"]
    assert main(words) == 0
    mar = tmp_path / "store" / "small.mar"
    with zipfile.ZipFile(mar) as archive:
        names = archive.namelist()
        config = yaml.safe_load(archive.read("model-config.yaml"))
        figures = json.loads(archive.read("self_check.json"))
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        assert archive.testzip() is None
    assert len(set(names)) == len(names)
    assert {
        "saliency_handler.py",
        "torchserve_saliency/explainer.py",
        "net.py",
        "small.pt",
        "index_to_name.json",
    } <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("timm")]
    assert (manifest["modelVersion"], manifest["handler"]) == ("2.1", "saliency_handler.py")
    assert [config[key] for key in ("batchSize", "maxBatchDelay", "minWorkers", "responseTimeout")] == [4, 9, 2, 70]
    assert {key: config["handler"][key] for key in ("method", "alpha", "top_k", "target")} == {
        "method": "grad_cam",
        "alpha": 0.4,
        "top_k": 3,
        "target": "bee",
    }
    assert figures["directions"] == 5
    assert 0 < figures["largest_relative_error"] < 1e-3
    assert figures["versions"]["torch"] == torch.__version__.partition("+")[0]
    explainer = Explainer.load(mar)
    explanation = explainer.explain(generated_picture(explainer.classifier.input))
    assert explanation.method == "grad_cam"
    assert [m.target.label for m in explanation.maps] == ["bee"]
    assert len(explanation.predictions) == 3
    assert explainer.classifier.self_check["largest_relative_error"] == figures["largest_relative_error"]
    summary = capsys.readouterr().out
    assert str(mar) in summary
    assert "classes     4" in summary
    assert [path.name for path in mar.parent.iterdir()] == ["small.mar"]


def test_an_archive_can_be_uncompressed_and_checked_in_fewer_directions(tmp_path: Path) -> None:
    assert main([*own_words(tmp_path), "--archive-format", "zip-store", "--directions", "2"]) == 0
    with zipfile.ZipFile(tmp_path / "store" / "small.mar") as archive:
        assert archive.getinfo("small.pt").compress_type == zipfile.ZIP_STORED
        assert json.loads(archive.read("self_check.json"))["directions"] == 2
    assert Explainer.load(tmp_path / "store" / "small.mar").classifier.self_check["directions"] == 2


def test_an_archive_is_compiled_and_computes_in_bfloat16_by_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*own_words(tmp_path), "--compile", "max-autotune-no-cudagraphs", "--precision", "bf16"]
    assert main([*words, "--batch-size", "1"]) == 0
    with zipfile.ZipFile(tmp_path / "store" / "small.mar") as archive:
        config = yaml.safe_load(archive.read("model-config.yaml"))
        figures = json.loads(archive.read("self_check.json"))
    compilation = {"enable": True, "backend": "inductor", "mode": "max-autotune-no-cudagraphs"}
    assert config["pt2"] == {"compile": compilation}
    assert config["startupTimeout"] == 1800
    assert config["handler"]["precision"] == "bf16"
    assert 0 < figures["largest_relative_error"] < 1e-3
    assert figures["float32_relative_error"] < 1e-3
    summary = capsys.readouterr().out
    assert "compiled    max-autotune-no-cudagraphs, when it is loaded: " in summary
    result = r": relative to fp32, the error in norm of its logits is \S+, of its gradient | does not work here: fp32"
    assert re.search(f"precision   bf16({result})", summary)


def test_without_flags_nothing_is_compiled_and_the_precision_is_fp32(tmp_path: Path) -> None:
    plain = parsed_arguments("--arch", "resnet18")
    assert (plain.compile, plain.precision) == (None, "fp32")
    assert parsed_arguments("--arch", "resnet18", "--compile").compile == "default"
    assert main(own_words(tmp_path)) == 0
    with zipfile.ZipFile(tmp_path / "store" / "small.mar") as archive:
        config = yaml.safe_load(archive.read("model-config.yaml"))
    assert not {"pt2", "startupTimeout"} & set(config)
    assert "precision" not in config["handler"]


def test_an_archive_has_the_limits_of_the_command_line(tmp_path: Path) -> None:
    assert main([*own_words(tmp_path), "--sanity", "off", "--limits", '{"max_seconds": 9, "max_targets": 3}']) == 0
    limits = Explainer.load(tmp_path / "store" / "small.mar").classifier.limits
    assert limits == Limits(max_seconds=9, max_targets=3)


def test_an_existing_archive_is_overwritten_only_with_force(tmp_path: Path) -> None:
    words = own_words(tmp_path)
    mar = tmp_path / "store" / "small.mar"
    mar.parent.mkdir()
    mar.write_bytes(b"former")
    assert main(words) == 2
    assert mar.read_bytes() == b"former"
    assert main([*words, "--force"]) == 0
    assert zipfile.is_zipfile(mar)


def test_a_refused_network_leaves_no_archive_and_keeps_an_older_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = own_words(tmp_path, returning("(logits * 50).round()"))
    mar = tmp_path / "store" / "small.mar"
    mar.parent.mkdir()
    mar.write_bytes(b"former")
    assert main([*words, "--force"]) == 1
    assert "refused: no gradient of class" in capsys.readouterr().err
    assert mar.read_bytes() == b"former"
    mar.unlink()
    assert main(words) == 1
    assert not list(mar.parent.iterdir())


def test_a_default_with_an_unknown_class_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*own_words(tmp_path), "--target", "unicorn"]) == 2
    assert "--target: no class is named 'unicorn'" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give either --arch .* or --model-file"),
        (["--arch", "resnet18", "--model-file", "x.py"], "give either --arch"),
        (["--model-file", "missing.py", "--weights", "none"], r"no Python file 'missing\.py'"),
        (["--model-file", __file__], "needs its weights"),
        (["--arch", "resnet18", "--weights", "a.pt", "--serialized-file", "b.pt"], "mean the same"),
        (["--arch", "resnet18", "--serialized-file", "b.pt"], r"no file 'b\.pt'"),
        (["--arch", "resnet18", "--labels", "missing.txt"], r"'missing\.txt' cannot be read"),
        (["--arch", "resnet18", "--method", "grad_kam"], "must be a known name; did you mean grad_cam"),
        (["--arch", "resnet18", "--alpha", "2"], "'alpha' must be a number from 0 to 1"),
        (["--arch", "resnet18", "--quality", "perhaps"], "'quality' must be true or false"),
        (["--model-name", "a/b", "--arch", "resnet18"], "only letters, digits"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parsed_arguments(*words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--arch", "resnt18"], "no classifier 'resnt18'; did you mean resnet18"),
        (["--arch", "fcn_resnet50"], "no classifier 'fcn_resnet50'"),
        (["--arch", "resnet18", "--weights", "IMAGENET1K_V9"], "there are DEFAULT, none, IMAGENET1K_V1, or a file"),
        (["--arch", "resnet18", "--weights", "missing.pth"], r"no file 'missing\.pth'"),
        (["--arch", "resnet18", "--weights", "none", "--std", "0.5"], "one value per channel"),
        (["--arch", "resnet18", "--weights", "none", "--interpolation", "cubic"], "interpolation 'cubic' is not one"),
    ],
)
def test_an_unknown_network_weight_or_interpolation_is_a_usage_error(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        find_source(parsed_arguments(*words))


@pytest.mark.parametrize(
    "words",
    [
        *(["--input-size", "big"], ["--resize", "1,2,3"], ["--batch-size", "0"], ["--mode", "x"]),
        *(["--compile", "fastest"], ["--precision", "fp8"]),
        *(["--limits", '{"max_rows": 3}'], ["--limits", '{"max_seconds": 0}'], ["--limits", "9"]),
    ],
)
def test_flags_of_the_wrong_type_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parsed_arguments("--arch", "resnet18", *words)
    assert exited.value.code == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize("module", ["logging", "torch", "scipy", "torchserve_saliency"])
def test_a_file_that_would_hide_a_module_is_a_usage_error(tmp_path: Path, module: str) -> None:
    path = model_file(tmp_path, name=f"{module}.py")
    with pytest.raises(UsageError, match=f"would hide the module '{module}'"):
        parsed_arguments("--model-file", str(path), "--weights", "none")


def test_the_command_exits_with_2_and_prints_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    assert main([*own_words(tmp_path), "--labels", str(labels)]) == 2
    assert "2 labels for 4 classes" in capsys.readouterr().err
    assert main(["--model-name", "m", "--export-path", str(tmp_path), "--arch", "vgg17"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main([*own_words(tmp_path, "class A(nn.Module):\n    pass"), "--logits", "3"]) == 1


@given(
    st.dictionaries(
        st.sampled_from(["alpha", "clip", "floor", "steps", "samples"]), st.text("0123456789.e-", max_size=6)
    )
)
def test_any_numbers_are_defaults_or_a_usage_error(given_defaults: dict[str, str]) -> None:
    words = [word for name, value in given_defaults.items() for word in (f"--{name}={value}",)]
    try:
        defaults = parsed_arguments("--arch", "resnet18", *words).defaults
    except UsageError:
        return
    assert defaults.keys() == given_defaults.keys()
    assert all(isinstance(value, int | float) for value in defaults.values())


def script_words(folder: Path, *flags: str, freeze: bool = False) -> list[str]:
    """Return the words that archive a small scripted network into `folder`."""
    path = scripted(folder / "net.pt", seeded(model_file(folder / "source")), freeze)
    shape = ["--input-size", "16", "--resize", "16"]
    return ["--model-name", "s", "--export-path", str(folder / "store"), "--serialized-file", str(path), *shape, *flags]


def test_a_scripted_network_explains_like_the_eager_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(script_words(tmp_path)) == 0
    assert "network     TorchScript" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "store" / "s.mar") as archive:
        assert archive.read("s.pt") == (tmp_path / "net.pt").read_bytes()
        figures = json.loads(archive.read("self_check.json"))
    assert 0 < figures["largest_relative_error"] < 1e-4
    assert main(own_words(tmp_path)) == 0
    script, eager = (Explainer.load(tmp_path / "store" / f"{name}.mar") for name in ("s", "small"))
    picture = generated_picture(script.classifier.input)
    for name, method in METHODS.items():
        if Need.HOOKS in method.needs:
            with pytest.raises(RequestError, match=f"'{name}' needs hooks .* which TorchScript forbids") as refusal:
                script.explain(picture, method=name)
            assert refusal.value.status == 422
            continue
        if method.shows is Shows.INPUT:  # rounding leads its steps to another picture
            assert script.explain(None, method=name, target=1, steps=4).maps[0].saliency.any()
            continue
        found, expected = (e.explain(picture, method=name, target="top2").maps for e in (script, eager))
        for one, other in zip(found, expected, strict=True):
            scale = abs(other.saliency).max()
            assert abs(one.saliency - other.saliency).max() < 1e-3 * scale


def test_a_script_that_does_not_run_in_float64_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(script_words(tmp_path, freeze=True)) == 1
    error = capsys.readouterr().err
    assert "it fails in float64, in which its gradient is checked: " in error
    assert "TorchScript must not be frozen" in error


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--weights", "none"], "--weights is for --arch or --model-file|mean the same"),
        (["--num-classes", "3"], "--num-classes and --arguments are for --arch"),
        (["--arguments", '{"a": 1}'], "--num-classes and --arguments are for --arch"),
        (["--compile"], "--compile does not apply"),
        (["--seed", "3"], "--seed does not apply"),
    ],
)
def test_flags_that_do_not_apply_to_a_script_are_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], reason: str
) -> None:
    assert main(script_words(tmp_path, *flags)) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert not (tmp_path / "store").exists()


def test_weights_or_a_pickled_network_alone_are_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = script_words(tmp_path)
    network = seeded(tmp_path / "source" / "net.py")
    for held in (network.state_dict(), network):
        torch.save(held, tmp_path / "net.pt")
        assert main(words) == 2
        assert "is no TorchScript network: --arch or --model-file must say which" in capsys.readouterr().err
    assert main(["--model-name", "m", "--serialized-file", "missing.pt"]) == 2
    assert "there is no file 'missing.pt'" in capsys.readouterr().err

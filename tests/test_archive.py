"""scripts/archive.py: what it accepts, what it refuses, and what lies in the archives that it writes."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from saliency.errors import ModelError, RequestError
from saliency.explainer import Explainer
from saliency.image import InputSpec
from saliency.model import load_classifier
from scripts.archive import main
from scripts.archiving.arguments import UsageError, Wanted, read_arguments
from scripts.archiving.check import RefusedError, best_slopes, check, doubled, generated_picture
from scripts.archiving.files import renamed
from scripts.archiving.preprocessing import changed_input, timm_input, torchvision_input
from scripts.archiving.sources import find_source, wakened
from tests.archives import PLAIN, model_file, returning, seeded, unpacked

CPU = torch.device("cpu")
CIFAR = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
"""
CIFAR_CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def wanted(*words: str) -> Wanted:
    """Return what the command line asks for, the name given."""
    return read_arguments(["--model-name", "m", *words])


def own_words(folder: Path, code: str = PLAIN) -> list[str]:
    """Return the words that archive a small network of one's own into `folder`."""
    path = model_file(folder / "source", code)
    weights = folder / "source" / "weights.pt"
    torch.save(seeded(path).state_dict(), weights)
    return [
        *("--model-name", "small", "--export-path", str(folder / "store")),
        *("--model-file", str(path), "--serialized-file", str(weights), "--input-size", "16", "--resize", "16"),
    ]


# --- an archive, from the command line to an explanation


def test_an_archive_is_complete_checked_and_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\ndog\n")
    words = [*own_words(tmp_path), "--labels", str(labels), "--version", "2.1", "--mean", "0.5,0.5,0.5"]
    words += ["--std", "0.25,0.25,0.25", "--method", "grad_cam", "--alpha", "0.4", "--top-k", "3", "--target", "bee"]
    assert main([*words, "--batch-size", "4", "--max-batch-delay", "9"]) == 0
    mar = tmp_path / "store" / "small.mar"
    with zipfile.ZipFile(mar) as archive:
        names = archive.namelist()
        config = yaml.safe_load(archive.read("model-config.yaml"))
        figures = json.loads(archive.read("self_check.json"))
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        assert archive.testzip() is None
    assert len(set(names)) == len(names)
    assert {"saliency_handler.py", "saliency/engine.py", "net.py", "small.pt", "index_to_name.json"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("timm")]
    assert (manifest["modelVersion"], manifest["handler"]) == ("2.1", "saliency_handler.py")
    assert (config["batchSize"], config["maxBatchDelay"]) == (4, 9)
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
    said = capsys.readouterr().out
    assert str(mar) in said
    assert "classes     4" in said
    assert [path.name for path in mar.parent.iterdir()] == ["small.mar"]


def test_an_archive_that_exists_is_overwritten_by_force_alone(tmp_path: Path) -> None:
    words = own_words(tmp_path)
    mar = tmp_path / "store" / "small.mar"
    mar.parent.mkdir()
    mar.write_bytes(b"former")
    assert main(words) == 2
    assert mar.read_bytes() == b"former"
    assert main([*words, "--force"]) == 0
    assert zipfile.is_zipfile(mar)


def test_a_refused_network_leaves_no_archive_and_no_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_default_that_names_no_class_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*own_words(tmp_path), "--target", "unicorn"]) == 2
    assert "--target: no class is named 'unicorn'" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


# --- the self-check: what is refused, and why

BROKEN = {
    "rounded": (
        "logits * 50 + ((logits * 50).round() - logits * 50).detach()",
        "the gradient is not the slope of the output",
    ),
    "detached": ("logits.detach()", "the output cannot be differentiated"),
    "constant": ("logits * 0 + 1", "the output is constant"),
    "not a number": ("logits / 0", "not finite"),
    "random": ("logits + torch.randn(4)", "something is random"),
    "neighbourly": ("logits - logits.mean(0, keepdim=True) + x.mean() + logits", "depend on its neighbours"),
    "half blind": ("logits + self.head(self.features(x.detach()))", "the gradient is not the slope of the output"),
    "dead": ("logits.detach() + 0 * logits", "no gradient of class"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_network_that_cannot_be_explained_is_refused_with_why(tmp_path: Path, name: str) -> None:
    expression, reason = BROKEN[name]
    with pytest.raises((RefusedError, ModelError, RequestError), match=reason):
        check(unpacked(tmp_path, returning(expression)))


FINE = {
    "plain": "logits",
    "steep": "logits * 1e6",
    "flat": "logits * 1e-9",
    "in float32 of its own accord": "logits.float() + torch.ones(4, dtype=torch.float32)",
    "smooth": "torch.sin(logits.exp())",
    "batched": "torch.stack([self.head(f) for f in self.features(x)])",
}


@pytest.mark.parametrize("name", FINE)
def test_a_network_that_can_be_explained_passes(tmp_path: Path, name: str) -> None:
    figures = check(unpacked(tmp_path, returning(FINE[name])))
    assert float(str(figures["largest_relative_error"])) < 1e-4
    assert float(str(figures["float32_relative_error"])) < 1e-3


@pytest.mark.parametrize(("expression", "expected"), [("logits.softmax(1)", True), ("logits", False)])
def test_probabilities_in_the_place_of_logits_are_noticed(tmp_path: Path, expression: str, expected: bool) -> None:
    assert check(unpacked(tmp_path, returning(expression)))["sums_to_one"] is expected


def test_a_gradient_that_is_off_by_two_percent_is_seen(tmp_path: Path) -> None:
    classifier = load_classifier(unpacked(tmp_path), CPU)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with doubled(classifier) as exact:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(exact.forward(leaf)[0, 1], leaf)
        assert best_slopes(exact, x, 1, gradient[0]).error < 1e-6
        assert best_slopes(exact, x, 1, gradient[0] * 1.02).error > 0.015
    assert torch.get_default_dtype() is torch.float32


# --- usage


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give either --arch .* or --model-file"),
        (["--arch", "resnet18", "--model-file", "x.py"], "give either --arch"),
        (["--model-file", "missing.py", "--weights", "none"], r"no Python file 'missing\.py'"),
        (["--model-file", __file__], "needs its weights"),
        (["--arch", "resnet18", "--weights", "a.pt", "--serialized-file", "b.pt"], "say the same"),
        (["--arch", "resnet18", "--serialized-file", "b.pt"], r"no file 'b\.pt'"),
        (["--arch", "resnet18", "--labels", "missing.txt"], r"'missing\.txt' cannot be read"),
        (["--arch", "resnet18", "--method", "gradcam"], "must be one of .* did you mean grad_cam"),
        (["--arch", "resnet18", "--alpha", "2"], "'alpha' must be a number from 0 to 1"),
        (["--arch", "resnet18", "--quality", "true"], "not in this version"),
        (["--model-name", "a/b", "--arch", "resnet18"], "letters, digits"),
    ],
)
def test_bad_usage_is_told_what_is_wrong(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        wanted(*words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--arch", "resnt18"], "no classifier 'resnt18'; did you mean resnet18"),
        (["--arch", "fcn_resnet50"], "no classifier 'fcn_resnet50'"),
        (["--arch", "resnet18", "--weights", "IMAGENET1K_V9"], "there are DEFAULT, none, IMAGENET1K_V1, or a file"),
        (["--arch", "resnet18", "--weights", "missing.pth"], r"no file 'missing\.pth'"),
        (["--arch", "resnet18", "--weights", "none", "--std", "0.5"], "one value a channel"),
        (["--arch", "resnet18", "--weights", "none", "--interpolation", "cubic"], "interpolation 'cubic' is not one"),
    ],
)
def test_what_cannot_be_found_is_named(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        find_source(wanted(*words))


@pytest.mark.parametrize(
    "words", [["--input-size", "big"], ["--resize", "1,2,3"], ["--batch-size", "0"], ["--mode", "x"]]
)
def test_flags_of_the_wrong_type_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        wanted("--arch", "resnet18", *words)
    assert left.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_file_that_would_hide_a_module_is_bad_usage(tmp_path: Path) -> None:
    path = model_file(tmp_path, name="logging.py")
    with pytest.raises(UsageError, match="would hide the module 'logging'"):
        wanted("--model-file", str(path), "--weights", "none")


def test_the_command_exits_with_2_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_any_numbers_are_defaults_or_bad_usage(given_defaults: dict[str, str]) -> None:
    words = [word for name, value in given_defaults.items() for word in (f"--{name}={value}",)]
    try:
        defaults = wanted("--arch", "resnet18", *words).defaults
    except UsageError:
        return
    assert defaults.keys() == given_defaults.keys()
    assert all(isinstance(value, int | float) for value in defaults.values())


# --- preprocessing


@pytest.mark.parametrize("arch", ["resnet50", "vit_l_16", "inception_v3", "efficientnet_b1", "swin_v2_t"])
def test_torchvision_preprocessing_is_that_of_the_weights(arch: str) -> None:
    for entry in models.get_model_weights(arch):
        preset, spec = entry.transforms(), torchvision_input(entry)
        assert [*spec.size] == preset.crop_size * 2
        assert [*spec.resize] == preset.resize_size
        assert spec.interpolation == preset.interpolation.value
        assert ([*spec.mean], [*spec.std]) == (preset.mean, preset.std)


@pytest.mark.parametrize(
    ("changes", "resize"),
    [
        ({}, (248,)),
        ({"crop_mode": "squash"}, (248, 248)),
        ({"crop_pct": 1.0}, (224,)),
        ({"crop_mode": "squash", "input_size": (3, 224, 112), "crop_pct": 0.5}, (448, 224)),
    ],
)
def test_timm_preprocessing_is_resize_and_crop(changes: dict[str, object], resize: tuple[int, ...]) -> None:
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    config |= {"mean": (0.5,) * 3, "std": (0.5,) * 3, **changes}
    spec = timm_input(config, wanted("--arch", "timm:x"))
    assert spec.resize == resize
    assert spec.size == config["input_size"][1:]  # type: ignore[index]
    assert spec.interpolation == "bicubic"


@pytest.mark.parametrize("changes", [{"crop_mode": "border"}, {"input_size": (3, 224, 112)}])
def test_timm_preprocessing_that_is_more_is_refused_unless_set(changes: dict[str, object]) -> None:
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    config |= {"mean": (0.5,) * 3, "std": (0.5,) * 3, **changes}
    with pytest.raises(UsageError, match="--resize sets one in its place"):
        timm_input(config, wanted("--arch", "timm:x"))
    assert timm_input(config, wanted("--arch", "timm:x", "--resize", "256")).size[0] == 224


@pytest.mark.parametrize(
    ("words", "size", "resize"),
    [
        ([], (224, 224), (256,)),
        (["--input-size", "448"], (448, 448), (512,)),
        (["--input-size", "32,48"], (32, 48), (55,)),
        (["--input-size", "32", "--resize", "32"], (32, 32), (32,)),
        (["--resize", "300,200"], (224, 224), (300, 200)),
    ],
)
def test_the_command_line_changes_the_preprocessing(
    words: list[str], size: tuple[int, ...], resize: tuple[int, ...]
) -> None:
    spec = changed_input(InputSpec(), wanted("--arch", "resnet18", *words))
    assert (spec.size, spec.resize) == (size, resize)


def test_a_network_of_ones_own_loses_nothing_of_the_picture_by_default(tmp_path: Path) -> None:
    words = own_words(tmp_path)[4:8]
    spec = find_source(wanted(*words, "--input-size", "12,20")).input
    assert (spec.size, spec.resize) == ((12, 20), (20,))


# --- weights


def cached(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, state: object) -> Path:
    """Return the file in a torch.hub cache of its own that a download of `url` would have left."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.delenv("TORCH_HUB_DIR", raising=False)
    path = folder / "hub" / "checkpoints" / url.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def refuse_download(*_: object, **__: object) -> None:
    raise URLError("no route to host")


@pytest.mark.parametrize("name", ["DEFAULT", "default", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.IMAGENET1K_V1"])
def test_weights_by_name_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    torch.manual_seed(5)
    state = models.squeezenet1_1().state_dict()
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse_download)
    entry = models.SqueezeNet1_1_Weights.DEFAULT
    cached(tmp_path, monkeypatch, entry.url, state)
    source = find_source(wanted("--arch", "squeezenet1_1", "--weights", name))
    assert all(torch.equal(value, state[key]) for key, value in source.network.state_dict().items())
    assert source.labels == tuple(entry.meta["categories"])


def test_weights_that_cannot_be_downloaded_name_the_file_that_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse_download)
    assert main(["--model-name", "m", "--arch", "resnet18", "--export-path", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    file = models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    assert f"put the file at '{tmp_path / 'hub' / 'checkpoints' / file}'" in said
    assert "no route to host" in said
    assert not (tmp_path / "store").exists()


def test_a_broken_download_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cached(tmp_path, monkeypatch, models.ResNet18_Weights.DEFAULT.url, {})
    path.write_bytes(b"half a fi")
    with pytest.raises(UsageError, match=r"cannot be read .*; delete it"):
        find_source(wanted("--arch", "resnet18"))


def test_published_googlenet_weights_bring_their_own_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    state = models.googlenet(init_weights=False, aux_logits=True).state_dict()
    cached(tmp_path, monkeypatch, models.GoogLeNet_Weights.DEFAULT.url, state)
    reference = models.googlenet(weights="DEFAULT").eval()
    source = find_source(wanted("--arch", "googlenet"))
    x = torch.randn(1, 3, 64, 64)
    assert source.arguments == {"transform_input": True, "aux_logits": True}
    torch.testing.assert_close(source.network.eval()(x), reference(x), rtol=0, atol=0)


def test_a_file_named_as_a_published_one_is_described_as_it(tmp_path: Path) -> None:
    old = models.ResNet50_Weights.IMAGENET1K_V1
    path = tmp_path / old.url.rpartition("/")[2]
    torch.save(models.resnet50().state_dict(), path)
    assert find_source(wanted("--arch", "resnet50", "--weights", str(path))).input.resize == (256,)
    other = path.rename(tmp_path / "mine.pth")
    assert find_source(wanted("--arch", "resnet50", "--weights", str(other))).input.resize == (232,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_of_another_number_of_classes_set_it(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    state = models.squeezenet1_1(num_classes=7).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    source = find_source(wanted("--arch", "squeezenet1_1", "--weights", str(path)))
    assert source.arguments == {"num_classes": 7}
    assert source.labels is None
    assert all(torch.equal(value, state[key]) for key, value in source.network.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(models.squeezenet1_0().state_dict(), path)
    with pytest.raises(ModelError, match="do not fit the network"):
        find_source(wanted("--arch", "resnet18", "--weights", str(path)))


def test_a_broken_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\0" * 40)
    with pytest.raises(ModelError, match="no safetensors file"):
        find_source(wanted("--arch", "resnet18", "--weights", str(path)))


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (
        find_source(wanted("--arch", "squeezenet1_1", "--weights", "none", "--seed", seed)).network.state_dict()
        for seed in ("1", "1", "2")
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
    torch.manual_seed(1)
    expected = models.squeezenet1_1().state_dict()
    assert all(torch.equal(first[key], expected[key]) for key in first)


def test_a_random_network_can_have_any_number_of_classes() -> None:
    source = find_source(wanted("--arch", "resnet18", "--weights", "none", "--num-classes", "3"))
    assert source.network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert source.labels is None


def test_a_head_that_starts_at_zero_is_wakened_and_nothing_else_is() -> None:
    torch.manual_seed(0)
    network = models.VisionTransformer(32, 16, 2, 2, 12, 24)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    after = wakened(network).state_dict()
    assert [key for key in after if not torch.equal(after[key], before[key])] == ["heads.head.weight"]
    assert after["heads.head.weight"].std() > 0.01


def test_a_vision_transformer_is_built_for_its_input() -> None:
    words = ("--arch", "vit_b_32", "--weights", "none", "--input-size", "64", "--arguments", '{"num_layers": 1}')
    with pytest.raises(ModelError, match="'vit_b_32' cannot be built: TypeError"):
        find_source(wanted(*words))
    source = find_source(wanted(*words[:-2], "--num-classes", "2"))
    assert source.arguments == {"image_size": 64, "num_classes": 2}
    assert source.network(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_old_densenet_names_are_read() -> None:
    network = models.densenet121(num_classes=2)
    old = {
        key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1").replace("conv2", "conv.2")
        if "denselayer" in key
        else key: value
        for key, value in network.state_dict().items()
    }
    assert old.keys() != network.state_dict().keys()
    assert renamed(old).keys() == network.state_dict().keys()


# --- timm


@pytest.mark.parametrize("arch", ["timm:resnet10t", "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"])
def test_a_timm_archive_brings_timm_along(tmp_path: Path, arch: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    words = ["--model-name", "t", "--arch", arch, "--weights", "none", "--export-path", str(tmp_path)]
    assert main(words) == 0
    mar = tmp_path / "t.mar"
    with zipfile.ZipFile(mar) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "unpacked")
        figures = json.loads(archive.read("self_check.json"))
    assert {"timm/LICENSE", "timm/version.py", "timm/models/_builder.py"} <= names
    assert sum(archive.getinfo(name).compress_size for name in names if name.startswith("timm/")) < 2_000_000
    assert figures["versions"]["timm"] == timm.__version__
    program = """
import sys
class OnlyTheArchive:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("safetensors", "huggingface_hub", "captum"):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, OnlyTheArchive())
from saliency.explainer import Explainer
classifier = Explainer.load(sys.argv[1]).classifier
module = type(classifier.network).__init__.__code__.co_filename
assert module.startswith(sys.argv[1]), module
assert "timm" not in sys.modules
print(classifier.labels.names[24], len(classifier.labels.names))
"""
    unpacked_folder = str((tmp_path / "unpacked").resolve())
    words = [sys.executable, "-c", program, unpacked_folder]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=unpacked_folder)
    assert ran.stdout.strip() == "great grey owl 1000", ran.stderr


def test_timm_weights_and_preprocessing_are_found(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    state = timm.create_model("resnet10t", num_classes=6).state_dict()
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    source = find_source(wanted("--arch", "timm:resnet10t", "--weights", str(path)))
    assert source.arguments == {"num_classes": 6}
    assert source.input.size == (176, 176)
    assert source.input.resize == (201,)
    assert source.input.interpolation == "bicubic"
    assert all(torch.equal(value, state[key]) for key, value in source.network.state_dict().items())


def test_timm_pretrained_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    asked: list[tuple[str, bool]] = []
    create = timm.create_model

    def recording(name: str, pretrained: bool = False, **arguments: object) -> nn.Module:
        asked.append((name, pretrained))
        torch.manual_seed(9)
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", recording)
    source = find_source(wanted("--arch", "timm:resnet10t", "--weights", "c3_in1k"))
    assert asked[0] == ("resnet10t.c3_in1k", True)
    assert source.arch == "timm:resnet10t.c3_in1k"
    torch.manual_seed(9)
    expected = create("resnet10t").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in source.network.state_dict().items())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--arch", "timm:resnt10t"], "timm has no network 'resnt10t'; did you mean resnet10t"),
        (["--arch", "timm:resnet10t", "--weights", "nothing_in1k"], "no weights 'nothing_in1k': there are c3_in1k"),
        (["--arch", "timm:resnet10t"], "cannot be had .*: no route.*timm/resnet10t.c3_in1k"),
    ],
)
def test_what_timm_does_not_have_is_named(monkeypatch: pytest.MonkeyPatch, words: list[str], reason: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **arguments: object) -> nn.Module:
        if pretrained:
            raise ConnectionError("no route")
        network: nn.Module = create(name, **arguments)
        return network

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UsageError, match=reason):
        find_source(wanted(*words))


# --- real weights


def test_the_real_quantizable_mobilenet_is_exact(data: Path) -> None:
    path = data / "weights" / "mobilenet_v2_qat.pt"
    source = find_source(wanted("--arch", "quantized_mobilenet_v2", "--weights", str(path)))
    reference = models.quantization.mobilenet_v2(quantize=False).eval()
    reference.load_state_dict(torch.load(path, weights_only=True))
    x = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(source.network.eval()(x), reference(x), rtol=0, atol=0)
    assert source.labels is not None
    assert source.labels[24] == "great grey owl"

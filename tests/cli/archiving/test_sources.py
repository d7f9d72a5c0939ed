"""Networks and weights by name, from files and from the cache."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from tests.archives import parsed_arguments
from torchserve_saliency.errors import ModelError
from torchserve_saliency.images.preprocessing import InputSpec, decode
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.pictures import generated_picture
from torchserve_saliency_cli.archiving.random_weights import calibrate_norms, patterns, with_random_heads
from torchserve_saliency_cli.archiving.sources import find_source
from torchserve_saliency_cli.archiving.weight_files import renamed

CPU = torch.device("cpu")


def cached(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, state: object) -> Path:
    """Return the file of `url` in a new cache of torch.hub, with a state dict in it."""
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
    source = find_source(parsed_arguments("--arch", "squeezenet1_1", "--weights", name))
    assert all(torch.equal(value, state[key]) for key, value in source.network.state_dict().items())
    assert source.labels == tuple(entry.meta["categories"])


def test_a_failed_download_names_the_file_to_provide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse_download)
    assert main(["--model-name", "m", "--arch", "resnet18", "--export-path", str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err
    file = models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    assert f"put the file at '{tmp_path / 'hub' / 'checkpoints' / file}'" in error
    assert "no route to host" in error
    assert not (tmp_path / "store").exists()


def test_a_corrupt_download_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cached(tmp_path, monkeypatch, models.ResNet18_Weights.DEFAULT.url, {})
    path.write_bytes(b"half a fi")
    with pytest.raises(UsageError, match=r"cannot be read .*; delete it"):
        find_source(parsed_arguments("--arch", "resnet18"))


def test_published_googlenet_weights_have_their_own_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    state = models.googlenet(init_weights=False, aux_logits=True).state_dict()
    cached(tmp_path, monkeypatch, models.GoogLeNet_Weights.DEFAULT.url, state)
    reference = models.googlenet(weights="DEFAULT").eval()
    source = find_source(parsed_arguments("--arch", "googlenet"))
    x = torch.randn(1, 3, 64, 64)
    assert source.arguments == {"transform_input": True, "aux_logits": False}  # for the training alone
    torch.testing.assert_close(source.network.eval()(x), reference(x), rtol=0, atol=0)


def test_a_file_with_the_name_of_published_weights_has_their_preprocessing(tmp_path: Path) -> None:
    old = models.ResNet50_Weights.IMAGENET1K_V1
    path = tmp_path / old.url.rpartition("/")[2]
    torch.save(models.resnet50().state_dict(), path)
    assert find_source(parsed_arguments("--arch", "resnet50", "--weights", str(path))).input.resize == (256,)
    other = path.rename(tmp_path / "mine.pth")
    assert find_source(parsed_arguments("--arch", "resnet50", "--weights", str(other))).input.resize == (232,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_the_number_of_classes_is_that_of_the_weights(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    state = models.squeezenet1_1(num_classes=7).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    source = find_source(parsed_arguments("--arch", "squeezenet1_1", "--weights", str(path)))
    assert source.arguments == {"num_classes": 7}
    assert source.labels is None
    assert all(torch.equal(value, state[key]) for key, value in source.network.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(models.squeezenet1_0().state_dict(), path)
    with pytest.raises(ModelError, match="do not fit the network"):
        find_source(parsed_arguments("--arch", "resnet18", "--weights", str(path)))


def test_a_broken_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\0" * 40)
    with pytest.raises(ModelError, match="no readable safetensors file"):
        find_source(parsed_arguments("--arch", "resnet18", "--weights", str(path)))


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (
        find_source(
            parsed_arguments("--arch", "squeezenet1_1", "--weights", "none", "--seed", seed)
        ).network.state_dict()
        for seed in ("1", "1", "2")
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
    torch.manual_seed(1)
    expected = models.squeezenet1_1().state_dict()
    assert all(torch.equal(first[key], expected[key]) for key in first)


def test_a_random_network_can_have_any_number_of_classes() -> None:
    source = find_source(parsed_arguments("--arch", "resnet18", "--weights", "none", "--num-classes", "3"))
    assert source.network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert source.labels is None


def test_only_a_head_of_zeros_gets_random_weights() -> None:
    torch.manual_seed(0)
    network = models.VisionTransformer(32, 16, 2, 2, 12, 24)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    after = with_random_heads(network).state_dict()
    assert [key for key in after if not torch.equal(after[key], before[key])] == ["heads.head.weight"]
    assert after["heads.head.weight"].std() > 0.01


def test_a_random_network_gets_calibrated_norms_and_keeps_its_weights() -> None:
    words = ("--arch", "resnet18", "--weights", "none", "--input-size", "64")
    network, again = (find_source(parsed_arguments(*words)).network for _ in range(2))
    torch.manual_seed(0)
    expected = dict(models.resnet18().named_parameters())
    assert all(torch.equal(value, expected[name]) for name, value in network.named_parameters())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    outputs: list[torch.Tensor] = []
    network.get_submodule("bn1").register_forward_hook(lambda m, args, output: outputs.append(output.clone()))
    network.eval()(patterns(InputSpec((64, 64), (64,))))
    torch.testing.assert_close(outputs[0].std((0, 2, 3)), torch.ones(64), rtol=0.01, atol=0)
    assert {m.momentum for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}


@pytest.mark.parametrize("kind", ["picture", "noise"])
def test_activations_and_gradients_of_a_deep_random_network_neither_vanish_nor_explode(kind: str) -> None:
    source = find_source(parsed_arguments("--arch", "efficientnet_v2_m", "--weights", "none", "--input-size", "128"))
    picture = decode(generated_picture(source.input), source.input, 10**6).tensor[None]
    x = picture if kind == "picture" else torch.randn(picture.shape, generator=torch.Generator().manual_seed(7))
    logits = source.network.eval()(x.requires_grad_())
    (gradient,) = torch.autograd.grad(logits[0, logits[0].argmax()], x)
    assert 1e-3 < float(logits.detach().std()) < 1e2
    assert 1e-3 < float(gradient.norm()) < 1e4  # 1e13 if the norms were calibrated only on the other kind


def test_the_norms_of_a_network_that_does_not_run_are_not_changed() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Linear(7, 2))
    calibrate_norms(network, InputSpec((32, 32), (32,)))
    assert network.state_dict()["0.running_var"].tolist() == [1, 1, 1]


def test_a_vision_transformer_is_built_for_its_input() -> None:
    words = ("--arch", "vit_b_32", "--weights", "none", "--input-size", "64", "--arguments", '{"num_layers": 1}')
    with pytest.raises(ModelError, match="'vit_b_32' cannot be built: TypeError"):
        find_source(parsed_arguments(*words))
    source = find_source(parsed_arguments(*words[:-2], "--num-classes", "2"))
    assert source.arguments == {"image_size": 64, "num_classes": 2}
    assert source.network(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_old_densenet_names_are_converted() -> None:
    network = models.densenet121(num_classes=2)
    old = {
        key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1").replace("conv2", "conv.2")
        if "denselayer" in key
        else key: value
        for key, value in network.state_dict().items()
    }
    assert old.keys() != network.state_dict().keys()
    assert renamed(old).keys() == network.state_dict().keys()


def test_the_real_quantizable_mobilenet_has_exact_outputs(data: Path) -> None:
    path = data / "weights" / "mobilenet_v2_qat.pt"
    source = find_source(parsed_arguments("--arch", "quantized_mobilenet_v2", "--weights", str(path)))
    reference = models.quantization.mobilenet_v2(quantize=False).eval()
    reference.load_state_dict(torch.load(path, weights_only=True))
    x = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(source.network.eval()(x), reference(x), rtol=0, atol=0)
    assert source.labels is not None
    assert source.labels[24] == "great grey owl"

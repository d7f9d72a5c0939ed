"""Networks of libraries that are built for the checkpoint: its place, the input channels, and the head (B1 to B5)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from tests.archives import laid_out, parsed_arguments
from tests.foreign import training_leftovers, training_library
from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.building import Source
from torchserve_saliency_cli.archiving.packing import configuration
from torchserve_saliency_cli.archiving.sources import find_source

GREY = ("--mean", ".5", "--std", ".5")


def found(folder: Path, arch: str, checkpoint: object, *words: str) -> Source:
    """Return the source of a network of a library with the weights in a checkpoint."""
    torch.save(checkpoint, folder / "weights.ckpt")
    return find_source(parsed_arguments("--arch", arch, "--weights", str(folder / "weights.ckpt"), *words))


def check_same(folder: Path, source: Source, trained: nn.Module, *words: str) -> None:
    """Assert that the network, and the one that an archive of it loads, have the outputs of the trained one."""
    torch.manual_seed(1)
    height, width = source.input.size
    x = torch.randn(2, source.input.channels, height, width)
    with torch.no_grad():
        expected = trained.eval()(x)
        torch.testing.assert_close(source.network.eval()(x), expected, rtol=0, atol=0)
        args = parsed_arguments("--arch", str(source.arch), *words)
        handler = configuration(source, args)["handler"]
        assert isinstance(handler, dict)
        loaded = load_classifier(
            laid_out(folder / "archive", source.network.state_dict(), handler), torch.device("cpu")
        )
        torch.testing.assert_close(loaded.forward(x), expected, rtol=1e-3, atol=1e-4)


def replaced(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Return the network with another module at a path."""
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
    return network


def head(*sizes: int, between: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Return dropout and linear layers with activations and dropout between them."""
    layers: list[nn.Module] = [nn.Dropout(0.2), nn.Linear(sizes[0], sizes[1])]
    for inputs, outputs in itertools.pairwise(sizes[1:]):
        layers += [between(), nn.Dropout(), nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "model._orig_mod."])
def test_b1_and_b2_a_checkpoint_of_lightning_is_archived(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(0)
    trained = models.resnet18(num_classes=5)
    state = {f"{prefix}{name}": value for name, value in trained.state_dict().items()}
    state |= {"criterion.weight": torch.ones(5), "loss_fn.pos_weight": torch.ones(5)}
    with training_library() as library:
        checkpoint = {**training_leftovers(library), "pytorch-lightning_version": "2.1.0", "state_dict": state}
        source = found(tmp_path, "resnet18", checkpoint, "--input-size", "64")
    assert source.match is not None
    assert source.match.left_over == ("criterion.weight", "loss_fn.pos_weight")
    assert source.arguments == {"num_classes": 5}
    check_same(tmp_path, source, trained)


def test_b3_the_average_is_taken_unless_state_chooses_the_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain, average = models.squeezenet1_1(num_classes=3), models.squeezenet1_1(num_classes=3)
    checkpoint = {"epoch": 3, "state_dict": plain.state_dict(), "state_dict_ema": average.state_dict()}
    check_same(tmp_path / "a", found(tmp_path, "squeezenet1_1", checkpoint, "--input-size", "64"), average)
    words = ("--input-size", "64", "--state", "state_dict")
    check_same(tmp_path / "b", found(tmp_path, "squeezenet1_1", checkpoint, *words), plain)


def test_layers_beside_the_network_are_refused_with_the_flags_that_help(tmp_path: Path) -> None:
    state = {f"backbone.{name}": value for name, value in models.resnet18(num_classes=128).state_dict().items()}
    checkpoint = {"state_dict": state | {"classifier.weight": torch.ones(5, 128), "classifier.bias": torch.ones(5)}}
    with pytest.raises(
        ModelError, match=r"layers that it lacks: classifier\.weight; .* --model-file.* --state state_dict:b"
    ):
        found(tmp_path, "resnet18", checkpoint)
    assert found(tmp_path, "resnet18", checkpoint, "--state", "backbone").arguments == {"num_classes": 128}


@pytest.mark.parametrize(
    ("arch", "path", "make"),
    [
        ("resnet18", "fc", lambda: head(512, 5)),
        ("resnet18", "fc", lambda: nn.Sequential(nn.Linear(512, 5))),
        ("resnet18", "fc", lambda: nn.Linear(512, 5, bias=False)),
        ("resnet18", "fc", lambda: nn.Sequential(nn.Linear(512, 9), nn.Dropout(), nn.Linear(9, 5))),
        ("mobilenet_v3_small", "classifier.3", lambda: head(1024, 5)),
        ("mobilenet_v3_small", "classifier", lambda: nn.Linear(576, 5)),
        ("densenet121", "classifier", lambda: head(1024, 5)),
        ("convnext_tiny", "classifier", lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 5))),
        ("vit_b_32", "heads", lambda: head(768, 5)),
        ("swin_t", "head", lambda: head(768, 5)),
        ("timm:resnet10t", "fc", lambda: head(512, 5)),
        ("timm:convnext_atto", "head.fc", lambda: head(320, 5)),
        ("timm:efficientnet_lite0", "classifier", lambda: head(1280, 5)),
        ("timm:vit_tiny_patch16_224", "head", lambda: head(192, 5)),
    ],
)
def test_b4_a_replaced_head_is_rebuilt(tmp_path: Path, arch: str, path: str, make: Callable[[], nn.Module]) -> None:
    """B4: dropout and a linear layer in place of the head, for torchvision and timm."""
    if arch.startswith("timm:"):
        timm = pytest.importorskip("timm", reason="timm is not installed")
        sized = {"img_size": 64} if "vit" in arch else {}
        network = timm.create_model(arch.removeprefix("timm:"), **sized)
    else:
        network = models.get_model(arch, **({"image_size": 64} if "vit" in arch else {}))
    trained = replaced(network, path, make())
    words = ("--head-activation", "none", "--input-size", "64")
    source = found(tmp_path, arch, trained.state_dict(), *words)
    assert source.labels is None
    check_same(tmp_path, source, trained)


def test_b4_the_activation_between_layers_must_be_named(tmp_path: Path) -> None:
    trained = replaced(models.resnet18(), "fc", head(512, 16, 5, between=nn.GELU))
    with pytest.raises(
        ModelError, match=r"fc\.1 \[16, 512\], fc\.4 \[5, 16\].* --head-activation \(relu.* --model-file"
    ):
        found(tmp_path, "resnet18", trained.state_dict())
    source = found(tmp_path, "resnet18", trained.state_dict(), "--head-activation", "gelu", "--input-size", "64")
    check_same(tmp_path, source, trained)


def test_b4_norms_of_a_head_are_kept_before_the_activation(tmp_path: Path) -> None:
    layers = [nn.Linear(512, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5)]
    trained = replaced(models.resnet18(), "fc", nn.Sequential(*layers))
    source = found(tmp_path, "resnet18", trained.state_dict(), "--head-activation", "relu", "--input-size", "64")
    check_same(tmp_path, source, trained)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(100, 5)), "takes 100 features, and the network gives it 512"),
        (lambda: nn.Sequential(nn.Linear(512, 9), nn.PReLU(), nn.Linear(9, 5)), "is no sequence of linear layers"),
        (lambda: nn.Sequential(head(512, 9), head(9, 5)), "is no sequence of linear layers"),
        (lambda: nn.ModuleDict({"a": nn.Linear(512, 5), "b": nn.Linear(512, 3)}), "is no sequence of linear layers"),
        (lambda: nn.Identity(), "has no weights for the head 'fc'"),
    ],
)
def test_b4_another_head_is_refused_with_the_way_to_archive_it(
    tmp_path: Path, make: Callable[[], nn.Module], reason: str
) -> None:
    trained = replaced(models.resnet18(), "fc", make())
    with pytest.raises(ModelError, match=f"{reason}.*--model-file"):
        found(tmp_path, "resnet18", trained.state_dict())


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("arch", ["resnet18", "timm:resnet10t"])
def test_b5_the_network_has_the_input_channels_of_the_weights(tmp_path: Path, arch: str, channels: int) -> None:
    """B5: a first convolution of another number of channels, in torchvision and timm."""
    if arch == "resnet18":
        network = replaced(models.resnet18(num_classes=3), "conv1", nn.Conv2d(channels, 64, 7, 2, 3, bias=False))
    else:
        timm = pytest.importorskip("timm", reason="timm is not installed")
        network = timm.create_model("resnet10t", num_classes=3, in_chans=channels)
    values = ",".join(["0.5"] * channels)
    source = found(tmp_path, arch, network.state_dict(), "--mean", values, "--std", values, "--input-size", "64")
    assert source.input.channels == channels
    check_same(tmp_path, source, network)


@pytest.mark.parametrize(
    ("arch", "path", "stem"),
    [
        ("resnet18", "conv1", lambda: nn.Conv2d(1, 64, 7, 2, 3)),  # with a bias, as it is easily written
        ("mobilenet_v3_small", "features.0.0", lambda: nn.Conv2d(1, 16, 3, 2, 1, bias=False)),
        ("vit_b_32", "conv_proj", lambda: nn.Conv2d(1, 768, 32, 32)),
        ("googlenet", "conv1.conv", lambda: nn.Conv2d(1, 64, 7, 2, 3, bias=False)),
    ],
)
def test_b5_grey_networks_of_many_kinds(tmp_path: Path, arch: str, path: str, stem: Callable[[], nn.Module]) -> None:
    more: dict[str, dict[str, object]] = {"vit_b_32": {"image_size": 64}, "googlenet": {"init_weights": False}}
    options = more.get(arch, {})
    trained = replaced(models.get_model(arch, num_classes=3, **options), path, stem())
    source = found(tmp_path, arch, trained.state_dict(), *GREY, "--input-size", "64")
    trained.eval()
    check_same(tmp_path, source, trained)


def test_b5_mean_and_std_of_three_values_are_refused_with_the_flags(tmp_path: Path) -> None:
    trained = replaced(models.resnet18(), "conv1", nn.Conv2d(1, 64, 7, 2, 3, bias=False))
    with pytest.raises(
        UsageError, match=r"has 1 input channel, but mean and std have 3 values: .*--mean 0\.5 --std 0\.5"
    ):
        found(tmp_path, "resnet18", trained.state_dict())
    with pytest.raises(UsageError, match="has 3 input channels, but mean and std have 1 value"):
        found(tmp_path, "resnet18", models.resnet18().state_dict(), *GREY)


@pytest.mark.parametrize("arch", ["resnet18", "timm:resnet10t"])
def test_b5_a_random_network_has_as_many_channels_as_mean_and_std(arch: str) -> None:
    if arch.startswith("timm:"):
        pytest.importorskip("timm", reason="timm is not installed")
    source = find_source(parsed_arguments("--arch", arch, "--weights", "none", *GREY, "--input-size", "64"))
    assert source.network(torch.zeros(2, 1, 64, 64)).shape == (2, 1000)


@pytest.mark.parametrize("norm_first", [True, False])
def test_b4_the_statistics_of_a_norm_tell_on_which_side_the_activation_is(tmp_path: Path, norm_first: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(16)
    assert norm.running_mean is not None
    norm.running_mean.normal_() if norm_first else norm.running_mean.uniform_()
    middle = [nn.Dropout(), norm, nn.ReLU()] if norm_first else [nn.ReLU(), norm, nn.Dropout()]
    trained = replaced(models.resnet18(), "fc", nn.Sequential(nn.Linear(512, 16), *middle, nn.Linear(16, 5)))
    source = found(tmp_path, "resnet18", trained.state_dict(), "--head-activation", "relu", "--input-size", "64")
    check_same(tmp_path, source, trained)


def test_b4_a_head_in_a_module_of_its_own_is_rebuilt(tmp_path: Path) -> None:
    trained = replaced(models.resnet18(), "fc", nn.Sequential(head(512, 16, 5)))
    source = found(tmp_path, "resnet18", trained.state_dict(), "--head-activation", "relu", "--input-size", "64")
    check_same(tmp_path, source, trained)


def test_another_network_is_refused_with_the_flags_that_help(tmp_path: Path) -> None:
    stem = replaced(models.resnet18(), "conv1", nn.Conv2d(3, 64, 3, 1, 1, bias=False))  # for small pictures
    for state in (stem.state_dict(), models.squeezenet1_1().state_dict()):
        with pytest.raises(
            ModelError, match=r"do not fit the network: .*give the --arch that was trained.*--model-file"
        ):
            found(tmp_path, "resnet18", state)


def test_another_number_of_classes_than_that_of_the_weights_is_refused(tmp_path: Path) -> None:
    state = models.squeezenet1_1(num_classes=3).state_dict()
    with pytest.raises(UsageError, match="--num-classes is 4, but the weights have 3 classes"):
        found(tmp_path, "squeezenet1_1", state, "--num-classes", "4")


def test_auxiliary_heads_with_other_classes_are_left_out(tmp_path: Path) -> None:
    trained = replaced(models.googlenet(init_weights=False, transform_input=True), "fc", nn.Linear(1024, 5))
    source = found(tmp_path, "googlenet", trained.state_dict(), "--input-size", "64")
    check_same(tmp_path, source, trained)

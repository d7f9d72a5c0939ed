"""E4: an explainer of a network in memory, without an archive."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from tests.test_explainer import picture
from torchserve_saliency import Explainer, RequestError
from torchserve_saliency.errors import ModelError
from torchserve_saliency.responses.display import DisplayedExplanation

LABELS = ["cat", "dog", "owl", "jay"]


def network(classes: int = 4, channels: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net = nn.Sequential(*layers, nn.Linear(24, classes))
    net(torch.randn(8, channels, 32, 32))  # running statistics other than 0 and 1
    return net


def gradient(net: nn.Module, x: Tensor, index: int) -> Tensor:
    """Return the gradient of a logit by plain float64 autograd."""
    x = x.double().requires_grad_()
    (found,) = torch.autograd.grad(net.double().eval()(x)[0, index], x)
    return found[0]


def test_e4_the_map_is_that_of_torchvisions_preprocessing_and_plain_autograd() -> None:
    net = network()
    image = Image.open(io.BytesIO(picture(2, (70, 90))))
    explainer = Explainer.of(net, labels=LABELS)
    found = explainer.explain(image, target="owl", reduce="none")
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = transforms.Compose(steps)(image)[None]
    expected = gradient(net, x, 2).numpy()
    assert np.linalg.norm(found.array[0] - expected) < 1e-5 * np.linalg.norm(expected)
    probabilities = net(x.double()).softmax(1)[0].tolist()
    by_index = {one.index: one.probability for one in found.predictions}
    assert [by_index[i] for i in range(4)] == pytest.approx(probabilities, rel=1e-5)
    assert found.model == "Sequential"


def test_e4_the_network_stays_as_it_was() -> None:
    net = network().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    explainer = Explainer.of(net, size=32, resize=32)
    explainer.explain(picture(1), method="guided_backprop")
    explainer.explain(picture(1), method="grad_cam")
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())
    assert explainer.classifier.folded == 1  # the copy is faster: its batch norm is folded


@pytest.mark.parametrize(
    ("arguments", "size", "resize", "mean"),
    [
        ({}, (224, 224), (256,), (0.485, 0.456, 0.406)),
        ({"size": 112}, (112, 112), (128,), (0.485, 0.456, 0.406)),
        ({"size": 32, "resize": 32}, (32, 32), (32,), (0.485, 0.456, 0.406)),
        ({"size": (24, 40), "resize": [30, 50]}, (24, 40), (30, 50), (0.485, 0.456, 0.406)),
        ({"mean": [0.5] * 3, "std": np.array([0.5] * 3)}, (224, 224), (256,), (0.5, 0.5, 0.5)),
        ({"mean": torch.zeros(3), "std": (1, 1, 1)}, (224, 224), (256,), (0.0, 0.0, 0.0)),
    ],
)
def test_e4_the_preprocessing(arguments: dict[str, Any], size: object, resize: object, mean: object) -> None:
    spec = Explainer.of(network(), **arguments).classifier.input
    assert (spec.size, spec.resize, spec.mean) == (size, resize, mean)


def test_e4_further_values_of_the_preprocessing() -> None:
    explainer = Explainer.of(network(), size=32, resize=(32, 32), fit="letterbox", fill=(9,), interpolation="bicubic")
    assert (explainer.classifier.input.fit, explainer.classifier.input.interpolation) == ("letterbox", "bicubic")
    assert explainer.explain(picture(1)).picture.pixels[0, 0].tolist() in ([9, 9, 9], picture_corner())


def picture_corner() -> list[int]:
    """Return the first pixel of the picture, in case that the padding is at its sides."""
    return np.asarray(Image.open(io.BytesIO(picture(1))))[0, 0].tolist()


def test_e4_one_channel() -> None:
    explainer = Explainer.of(network(channels=1), size=28, resize=28, mean=0.5, std=0.5)
    grey = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    found = explainer.explain(grey, reduce="none")
    assert found.array.shape == (1, 1, 28, 28)
    x = torch.from_numpy((grey / 255 - 0.5) / 0.5)[None, None]
    expected = gradient(network(channels=1), x, found.predictions[0].index).numpy()
    np.testing.assert_allclose(found.array[0], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("labels", "classes", "activation", "names"),
    [
        (None, 3, None, ("0", "1", "2")),
        (("a", "b", "c"), 3, None, ("a", "b", "c")),
        ({2: "c", 0: "a", 1: "b"}, 3, None, ("a", "b", "c")),
        ({"0": "a", "1": "b"}, 2, "sigmoid", ("a", "b")),
        (["scab"], 1, None, ("not scab", "scab")),
        (["healthy", "scab"], 1, None, ("healthy", "scab")),
    ],
)
def test_e4_labels_and_activation(labels: Any, classes: int, activation: str | None, names: tuple[str, ...]) -> None:
    net = network(classes)
    explainer = Explainer.of(net, labels=labels, size=32, resize=32, activation=activation)
    assert explainer.classifier.labels.names == names
    found = explainer.explain(picture(1))
    logits = net.eval()(found.picture.tensor[None])[0]
    if classes == 1:
        logits = torch.stack([-logits[0], logits[0]])
    expected = logits.softmax(0) if activation is None and classes > 1 else logits.sigmoid()
    shown = {one.index: one.probability for one in found.predictions}
    assert [shown[i] for i in range(len(names))] == pytest.approx(expected.tolist(), rel=1e-4)


def test_e4_labels_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    explainer = Explainer.of(network(), labels=tmp_path / "labels.txt", size=32)
    assert list(explainer.classifier.labels.names) == LABELS


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"network": "resnet18"}, TypeError, "torch.nn.Module, not str"),
        ({"network": nn.ReLU}, TypeError, "class ReLU: make an instance"),
        ({"labels": ["a", "b"]}, ModelError, "2 labels, but the network has 4 classes"),
        ({"labels": {0: "a", 2: "b"}}, ModelError, "indices 0 to 1"),
        ({"labels": "nowhere.txt"}, ModelError, "labels is the path"),
        ({"mean": [0.5], "std": [0.5]}, ModelError, "takes 3 channels, but mean and std are of 1"),
        ({"mean": [0.5] * 3}, None, ""),
        ({"std": [0.0] * 3}, ModelError, "std"),
        ({"activation": "relu"}, ModelError, "activation"),
        ({"size": 0}, ModelError, "size"),
        ({"colour": "red"}, TypeError, "no argument 'colour'"),
        ({"network": nn.Sequential(nn.Linear(3, 4))}, ModelError, "fails on an input"),
    ],
)
def test_e4_wrong_arguments_are_named(arguments: dict[str, Any], kind: type[Exception] | None, reason: str) -> None:
    arguments = {"size": 32, "resize": 32, **arguments}
    given = arguments.pop("network", None) or network()
    if kind is None:
        Explainer.of(given, **arguments)
        return
    with pytest.raises(kind, match=reason):
        Explainer.of(given, **arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_e4_a_network_of_another_precision_is_explained_in_float32(dtype: torch.dtype) -> None:
    net = network().to(dtype)
    found = Explainer.of(net, size=32, resize=32).explain(picture(1))
    assert found.array.dtype == np.float32
    assert next(net.parameters()).dtype == dtype


def test_e4_a_hugging_face_output_has_logits() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"features": self.net[:3](x), "logits": self.net(x)}

    found = Explainer.of(Wrapped(), labels=LABELS, size=32, resize=32).explain(picture(1), method="grad_cam")
    assert found.predictions[0].label in LABELS


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.of(network(), labels=LABELS, size=32, resize=32)


def test_e2_a_preprocessed_tensor_is_used_as_it_is(explainer: Explainer) -> None:
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = explainer.explain(x, target=1, reduce="none")
    np.testing.assert_allclose(found.array[0], gradient(network(), x, 1).numpy(), rtol=1e-4, atol=1e-7)
    assert found.image().size == (32, 32)


def test_e2_a_tensor_of_another_size_or_of_pixels_is_noticed(explainer: Explainer) -> None:
    with pytest.raises(RequestError, match=r"\[3, 32, 32\], not \[3, 40, 40\]"):
        explainer.explain(torch.randn(3, 40, 40))
    with pytest.warns(UserWarning, match="not normalised"):
        explainer.explain(torch.rand(3, 32, 32))


def test_values_of_numpy_and_torch_are_options(explainer: Explainer) -> None:
    found = explainer.explain(
        picture(1), target=np.int64(2), alpha=np.float32(0.25), against=torch.tensor(1), colormap=None
    )
    (one,) = found.maps
    assert (one.target.index, one.against and one.against.index, found.view.alpha) == (2, 1, 0.25)
    assert [m.target.index for m in explainer.explain(picture(1), target=np.array([0, 3])).maps] == [0, 3]


def test_several_pictures_equal_each_alone(explainer: Explainer) -> None:
    done: list[int] = []
    pictures: list[Any] = [picture(1), Image.open(io.BytesIO(picture(2))), b"no picture", "nowhere.png", 5]
    pictures += [picture(seed) for seed in range(3, 25)]
    found = explainer.explain_many(iter(pictures), on_progress=done.append, method="grad_cam", target="top2")
    assert [each.status for each in found if isinstance(each, RequestError)] == [415, 400, 400]
    assert done[-1] == len(pictures) == len(found)
    for index in (0, 1, 20):
        each, alone = found[index], explainer.explain(pictures[index], method="grad_cam", target="top2")
        assert isinstance(each, DisplayedExplanation)
        np.testing.assert_allclose(each.array, alone.array, rtol=1e-4, atol=1e-6)


def test_a_wrong_option_is_the_error_of_each_picture(explainer: Explainer) -> None:
    found = explainer.explain_many([picture(1), picture(2)], target="owel")
    assert [each.option for each in found if isinstance(each, RequestError)] == ["target", "target"]
    for wrong in ("owl.png", b"data", Path("x"), Image.new("L", (2, 2))):
        with pytest.raises(TypeError, match="list of pictures"):
            explainer.explain_many(wrong)  # type: ignore[arg-type]


def test_arrays_of_several_pictures(explainer: Explainer) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found = explainer.explain_many(batch)
    again = explainer.explain_many(torch.from_numpy(batch).permute(0, 3, 1, 2))
    for one, other in zip(found, again, strict=True):
        assert isinstance(one, DisplayedExplanation)
        assert isinstance(other, DisplayedExplanation)
        np.testing.assert_array_equal(one.array, other.array)


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"123")
    with pytest.raises(ModelError, match=r"Explainer\.of"):
        Explainer.load(tmp_path / "weights.pt")
    with pytest.raises(FileNotFoundError):
        Explainer.load(tmp_path / "nowhere.mar")

"""A network that is written out computes the same as before, with the same layers, and needs torch alone."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from tools.huggingface.networks import CONFIGURATIONS, Logits, classifier
from torchserve_saliency.errors import ModelError
from torchserve_saliency_cli.exporting.export import Exported, export


def transformers_classifier(name: str) -> Any:
    """Return a small classifier; skip the test if the package is not installed."""
    pytest.importorskip("transformers", reason="the test needs the package transformers (extra hf)")
    return classifier(name)


def pictures(count: int, side: int = 64, seed: int = 5) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def exported(network: nn.Module, side: int = 64) -> Exported:
    return export(network, pictures(2, side), "A network of a test.")


def assert_equal_in_values_and_gradients(network: nn.Module, built: nn.Module, side: int = 64) -> None:
    """Compare outputs and input gradients for several numbers of pictures that the export has not seen."""
    for count in (1, 2, 5):
        inputs = [pictures(count, side, seed=count).requires_grad_() for _ in range(2)]
        ours, theirs = built(inputs[0]), network(inputs[1])
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        weights = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(9))
        (ours * weights).sum().backward()
        (theirs * weights).sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_classifier_of_transformers_is_the_same_afterwards(name: str) -> None:
    network = Logits(transformers_classifier(name))
    result = exported(network)
    assert_equal_in_values_and_gradients(network, result.network)


@pytest.mark.parametrize("name", ["ViT", "Swin", "ConvNext"])
def test_layers_keep_their_names_and_the_layers_of_torch_their_types(name: str) -> None:
    network = transformers_classifier(name)
    built = exported(Logits(network)).network
    ours = {path: type(module) for path, module in built.named_modules()}
    plain = {
        path: type(module) for path, module in network.named_modules() if type(module).__module__[:9] == "torch.nn."
    }
    named = {path: kind for path, kind in plain.items() if kind not in (nn.Identity, nn.ModuleList, nn.Sequential)}
    assert named
    assert {path: ours.get(path) for path in named} == named
    assert set(network.state_dict()) <= set(built.state_dict()) | {"num_batches_tracked"}


def test_the_source_imports_torch_alone_and_names_no_device() -> None:
    result = exported(Logits(transformers_classifier("Beit")))
    tree = ast.parse(result.code)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"torch", "torch.nn.functional"}
    assert "cpu" not in result.code
    assert result.network.to("meta")(torch.empty(3, 3, 64, 64, device="meta")).shape == (3, 7)


def test_equal_parts_share_one_class() -> None:
    code = exported(Logits(transformers_classifier("ViT"))).code
    assert code.count("class ViTLayer") == 1
    assert code.count("'layernorm_before': nn.LayerNorm") == 2


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "vit_b_32", "swin_v2_t", "maxvit_t"])
def test_a_classifier_of_torchvision_is_the_same_afterwards(name: str) -> None:
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {})).eval()
    side = 224 if name in ("vit_b_32", "maxvit_t") else 64
    with torch.no_grad():
        ours, theirs = exported(network, side).network(pictures(3, side, 1)), network(pictures(3, side, 1))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


class Small(nn.Module):
    """A network whose operations on [n, 3, 8, 8] a test chooses; `shared` is called twice."""

    def __init__(self, function: Callable[[Small, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.same = nn.Conv2d(3, 4, 3, padding="same")
        self.shared = nn.Linear(4, 4)
        self.pair = Pair()
        self.drop = nn.Dropout(0.5)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Pair(nn.Module):
    """Returns a size, two tensors, and None."""

    def forward(self, x: Tensor) -> tuple[int, Tensor, Tensor, None]:
        return x.shape[0] * 2, x.mean((2, 3)), x.amax((2, 3)), None


def of_a_pair(net: Small, x: Tensor) -> Tensor:
    size, mean, most, _ = net.pair(net.same(x))
    return (mean + most).repeat(2, 1).reshape(size, 4)[: x.shape[0]]


def with_a_mask(net: Small, x: Tensor) -> Tensor:
    """Build a mask by assignments to slices, as window attention does."""
    mask = torch.zeros(1, 1, 8, 8)
    for i, rows in enumerate((slice(0, -3), slice(-3, None))):
        mask[:, :, rows] = i - 0.5
    return (net.same(x) * mask).mean((2, 3))


def with_new_tensors(net: Small, x: Tensor) -> Tensor:
    zeros = torch.zeros(x.shape[0], 4)
    return torch.cat([zeros + cast(Tensor, net.table), net.shared(net.same(x).mean((2, 3)))], 1)


CHOICES: dict[str, Callable[[Small, Tensor], Tensor]] = {
    "padding": lambda net, x: net.same(x).mean((2, 3)),
    "twice": lambda net, x: net.shared(net.shared(net.same(x).mean((2, 3)))),
    "pair": of_a_pair,
    "mask": with_a_mask,
    "new tensors": with_new_tensors,
    "dropout": lambda net, x: net.drop(F.dropout(net.same(x), 0.5, net.training).mean((2, 3))),
    "in place": lambda net, x: net.same(x).mul_(net.scale).add_(1).relu_().mean((2, 3)),
    "split": lambda net, x: torch.cat([a * b for a, b in [net.same(x).mean((2, 3)).chunk(2, 1)]]),
    "maximum": lambda net, x: net.same(x).flatten(2).max(2)[0],
    "infinite": lambda net, x: net.same(x).masked_fill(net.same(x) < 0, float("-inf")).amax((2, 3)).clamp(min=-9),
    "normalised": lambda net, x: F.normalize(net.same(x).mean((2, 3)), dim=1),
    "detached": lambda net, x: net.same(x).detach().mean((2, 3)) + x.mean((2, 3)).sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", CHOICES)
def test_operations_are_the_same_afterwards(name: str) -> None:
    network = Small(CHOICES[name]).eval()
    result = exported(network, 8)
    assert_equal_in_values_and_gradients(network, result.network, 8)
    if name != "twice":
        result.network.to("meta")(torch.empty(3, 3, 8, 8, device="meta"))


def test_a_module_that_is_called_twice_is_one_module() -> None:
    built = exported(Small(CHOICES["twice"]), 8).network
    assert sum(isinstance(module, nn.Linear) for module in built.modules()) == 1


def test_a_function_that_methods_intercept_is_called_by_its_public_name() -> None:
    code = exported(Logits(transformers_classifier("ViT"))).code
    assert "F.scaled_dot_product_attention(" in code
    assert "F.gelu(" in code
    assert "torch.ops" not in code


def test_a_network_whose_way_depends_on_the_picture_is_refused() -> None:
    class Deciding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with pytest.raises(ModelError, match=r"torch.export cannot export .*--requirements-file"):
        exported(Deciding(), 8)


def test_a_network_that_mixes_the_pictures_of_a_batch_in_a_fixed_number_is_refused() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(2, 3, -1).mean(2)

    with pytest.raises(ModelError, match="--requirements-file"):
        exported(Fixed(), 8)

"""Class activation maps from one pass, compared with plain versions of their papers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from tests.driving import Driven, driven
from tests.methods.test_methods import run
from tests.networks import Flat, Modules, Tokens, classifier, inputs, made
from tests.test_explainer import picture
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.errors import RequestError
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.grad_cams import (
    GRAD_CAM_METHODS,
    Cam,
    first_principal_component,
    fuse_layers,
    grad_cam_plus_plus,
    upsample,
    xgrad_cam,
)
from torchserve_saliency.methods.activation.gradient_free_cams import GRADIENT_FREE_CAM_METHODS
from torchserve_saliency.methods.base import Maps, NoParameters, Subject
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query

X = inputs(dtype=torch.float64)


class Twice(Modules):
    """`Modules` with a ReLU module for each use, as Captum's guided methods require."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return self.head(self.again(self.second(x)).mean((2, 3)))


def with_large_gradients(factor: float = 1000.0) -> Twice:
    """Return a network with gradients so large that pytorch-grad-cam's epsilon of 1e-6 is negligible."""
    network = made(Twice, dtype=torch.float64)
    assert isinstance(network, Twice)
    network.head.weight.mul_(factor)
    return network


def drive_method(network: nn.Module, method: str, p: object, objective: Objective, size: int = 16) -> Driven[Maps]:
    """Run a method for a seeded input of `size`."""
    model = classifier(network, size)
    x = inputs(size=size, dtype=next(network.parameters()).dtype)
    steps = METHODS[method].function(Subject(x, objective, model.input), p)
    return driven(model, steps)


def activation_and_gradient(network: Twice, layer: str, target: int) -> tuple[Tensor, Tensor]:
    """Return the activations and gradients [C, h, w] of `second`, or of `again`, the ReLU after it."""
    before = network.second(network.first(X).clamp_min(0))
    leaf = (before.clamp_min(0) if layer == "again" else before).detach().requires_grad_()
    after = leaf if layer == "again" else leaf.clamp_min(0)
    (grad,) = torch.autograd.grad(network.head(after.mean((2, 3)))[0, target], leaf)
    return leaf.detach()[0], grad[0]


ReferenceMap = Callable[
    [Tensor, Tensor], Tensor
]  # from activation and gradient [h, w] of a channel to its weighted activation


def _plus_plus(a: Tensor, g: Tensor) -> Tensor:
    weight, total = 0.0, float(a.sum())
    for slope in g.flatten().tolist():
        if slope > 0:
            weight += slope**2 / (2 * slope**2 + total * slope**3) * slope
    return weight * a


def _xgrad(a: Tensor, g: Tensor) -> Tensor:
    total = float(a.sum())
    pairs = zip(a.flatten().tolist(), g.flatten().tolist(), strict=True)
    return sum(value / total * slope for value, slope in pairs) * a if total else 0 * a


REFERENCES: Mapping[str, ReferenceMap] = {
    "grad_cam": lambda a, g: float(g.sum()) / g.numel() * a,
    "grad_cam_plus_plus": _plus_plus,
    "hires_cam": lambda a, g: a * g,
    "layer_cam": lambda a, g: a * torch.where(g > 0, g, 0),
    "xgrad_cam": _xgrad,
}


def methods_and_layers(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of method and layer.

    Grad-CAM++ is left out at `second`: its paper assumes channels that are not negative. Negative channels have their
    own test.
    """
    every = [(method, layer) for method in methods for layer in ("again", "second")]
    return [each for each in every if each != ("grad_cam_plus_plus", "second")]


@pytest.mark.parametrize(("method", "layer"), methods_and_layers(REFERENCES))
def test_a_map_is_the_positive_part_of_the_weighted_channels(method: str, layer: str) -> None:
    network = with_large_gradients()
    found = run(network, method, Cam(layer), Objective((0, 3))).values
    for target, values in zip((0, 3), found, strict=True):
        total = sum(
            REFERENCES[method](a, g) for a, g in zip(*activation_and_gradient(network, layer, target), strict=True)
        )
        assert isinstance(total, Tensor)
        expected = F.interpolate(total.clamp_min(0)[None, None], size=(16, 16), mode="bilinear")
        torch.testing.assert_close(values[None], expected, rtol=1e-6, atol=1e-12)
    assert found.any()


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "xgrad_cam"])
def test_for_a_linear_head_over_the_mean_a_map_is_the_class_activation_map(method: str) -> None:
    """Zhou et al. 2016: the head's weights times the channels, divided here by the number of cells."""
    network = made(Twice, dtype=torch.float64)
    assert isinstance(network, Twice)
    activation, _ = activation_and_gradient(network, "again", 1)
    cam = torch.einsum("k,khw->hw", network.head.weight[1], activation).clamp_min(0) / activation[0].numel()
    found = run(network, method, Cam("again"), Objective((1,))).values
    torch.testing.assert_close(found, upsample(cam[None, None], X), rtol=1e-6, atol=1e-12)


def test_eigen_cam_is_the_first_principal_component() -> None:
    network = made(Twice, dtype=torch.float64)
    assert isinstance(network, Twice)
    activation, _ = activation_and_gradient(network, "second", 0)
    vectors = activation.flatten(1).T.numpy()
    values, axes = np.linalg.eigh(np.cov(vectors.T))
    component = (vectors - vectors.mean(0)) @ axes[:, np.argmax(values)]
    component *= np.sign(np.dot(component, np.linalg.norm(vectors, axis=1)))
    expected = torch.from_numpy(component).clamp_min(0).view(1, 1, 8, 8)
    found = run(network, "eigen_cam", Cam("second"), Objective((0, 4))).values
    torch.testing.assert_close(found[:1], upsample(expected, X), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sign_of_a_principal_component_follows_the_activations(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    blob = torch.zeros(6, 5, 5, dtype=dtype)
    blob[:, 1:3, 1:3] = torch.rand(6, 2, 2, generator=generator, dtype=dtype) + 1
    for turned in (blob, blob.flip(0), -blob):
        component = first_principal_component(turned[None])[0, 0]
        assert component[1:3, 1:3].min() > 0 > component[3:, 3:].max()


def test_the_principal_component_of_a_constant_layer_is_zero() -> None:
    assert first_principal_component(torch.ones(1, 4, 3, 3)).abs().max() < 1e-6


def test_a_channel_that_cancels_out_has_no_weight_in_xgrad_cam() -> None:
    activation = torch.tensor([1.0, -1.0, 2.0, 2.0]).view(1, 2, 1, 2)
    gradient = torch.tensor([5.0, 1.0, 3.0, 1.0]).view(1, 2, 1, 2)
    assert xgrad_cam(activation, gradient).flatten().tolist() == [0, 0, 4, 4]


def test_a_negative_channel_has_no_pole_in_grad_cam_plus_plus() -> None:
    activation = torch.tensor([-1.0, -1.0]).view(1, 1, 1, 2)
    gradient = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)  # 2 g² + S g³ is 0
    assert grad_cam_plus_plus(activation, gradient).flatten().tolist() == [-0.5, -0.5]


def test_grad_cam_plus_plus_of_tiny_gradients_weighs_them_by_a_half() -> None:
    activation, gradient = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 1e-24)
    torch.testing.assert_close(grad_cam_plus_plus(activation, gradient), torch.full((1, 1, 2, 2), 2e-24))


def test_several_layers_are_fused_by_maximum_each_divided_by_its_own() -> None:
    network, objective = made(Twice, dtype=torch.float64), Objective((0, 3))
    first, again = (run(network, "layer_cam", Cam(layer), objective).values for layer in ("first", "again"))
    both = run(network, "layer_cam", Cam("first;again"), objective).values
    for one, other, found in zip(first, again, both, strict=True):
        torch.testing.assert_close(found, torch.maximum(one / one.max(), other / other.max()))
    assert both.max() == 1
    assert not torch.allclose(again.amax((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_an_empty_map_among_several_stays_empty() -> None:
    found = fuse_layers([torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 4, 4)], torch.zeros(1, 3, 8, 8))
    assert found.shape == (1, 1, 8, 8)
    assert (found == 1).all()


@pytest.mark.parametrize("layers", ["again", "second;again"])
def test_guided_grad_cam_is_the_product_of_its_parts(layers: str) -> None:
    network, objective = made(Twice, dtype=torch.float64), Objective((Rank(0), 3), 0, "probability")
    guided = run(network, "guided_backprop", NoParameters(), objective).values
    cam = run(network, "grad_cam", Cam(layers), objective).values
    torch.testing.assert_close(run(network, "guided_grad_cam", Cam(layers), objective).values, guided * cam)


def small_vit() -> nn.Module:
    """Return a small vision transformer of torchvision, with a random head instead of one that is zero."""
    vit = models.VisionTransformer(32, 8, num_layers=3, num_heads=2, hidden_dim=24, mlp_dim=48, num_classes=5)
    nn.init.normal_(vit.heads[-1].weight)
    return vit


@pytest.mark.parametrize("method", [*REFERENCES, "eigen_cam", "score_cam", "ablation_cam"])
@pytest.mark.parametrize(("make", "size"), [(Tokens, 16), (small_vit, 32)])
def test_maps_of_transformers_are_finite_and_not_constant(
    make: Callable[[], nn.Module], size: int, method: str
) -> None:
    network = made(make, dtype=torch.float64)
    model = classifier(network, size)
    assert unsupported_reason(method, model) is None
    p = METHODS[method].parameters(layer=model.layers.default)
    found = drive_method(network, method, p, Objective((1, 2)), size).value.values
    assert found.shape == (2, 1, size, size)
    assert torch.isfinite(found).all()
    assert (found.amax((1, 2, 3)) > found.amin((1, 2, 3))).any()


@pytest.mark.parametrize("method", [*GRAD_CAM_METHODS, *GRADIENT_FREE_CAM_METHODS])
def test_the_error_for_a_network_without_a_grid_gives_the_reason(method: str) -> None:
    with pytest.raises(RequestError) as refusal:
        read_query(Message({"data": picture(0), "method": method}, explain=True), classifier(made(Flat)))
    assert (refusal.value.status, refusal.value.option) == (422, "method")
    assert "needs a layer with spatial extent, and this network has none" in refusal.value.message


def test_guided_grad_cam_needs_rectifiers() -> None:
    assert "needs ReLUs" in (unsupported_reason("guided_grad_cam", classifier(made(Tokens))) or "")


@pytest.mark.parametrize("method", GRAD_CAM_METHODS)
@pytest.mark.parametrize("layers", ["relu", "second;again"])
def test_the_passes_of_a_map_equal_its_cost(method: str, layers: str) -> None:
    p = Cam(layers)
    assert drive_method(made(Twice), method, p, Objective((0, 1))).cost == GRAD_CAM_METHODS[method].cost(
        p, classifier(made(Twice)).input
    )

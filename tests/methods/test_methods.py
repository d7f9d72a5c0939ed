"""Methods compared with plain float64 versions of their papers, and with Captum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.driving import driven
from tests.networks import Flat, InPlace, Modules, Tokens, classifier, inputs, made
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.activation.grad_cams import Cam
from torchserve_saliency.methods.base import CHUNK, Maps, NoParameters, Shows, Subject
from torchserve_saliency.methods.gradient.integrated_gradients import IntegratedGradients
from torchserve_saliency.methods.gradient.smooth_grad import SmoothGrad
from torchserve_saliency.requests.compatibility import unsupported_reason

X = inputs(dtype=torch.float64)


def run(network: nn.Module, method: str, parameters: object, objective: Objective, x: Tensor = X) -> Maps:
    """Return a method's maps [T, C, H, W]."""
    model = classifier(network)
    steps = METHODS[method].function(Subject(x, objective, model.input, model.attention), parameters)
    return driven(model, steps).value


def reference_gradient(network: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the gradient of a score of the logits [K] for each input, one by one."""
    rows = []
    for row in x:
        leaf = row[None].clone().requires_grad_()
        rows.append(torch.autograd.grad(score(network(leaf)[0]), leaf)[0])
    return torch.cat(rows)


SCORES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "logit": lambda logits, c: logits[c],
    "probability": lambda logits, c: logits.softmax(0)[c],
    "log_probability": lambda logits, c: logits.log_softmax(0)[c],
}


@pytest.fixture(params=[Modules, InPlace, Flat, Tokens], ids=lambda make: make.__name__)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return made(request.param, dtype=torch.float64)


def difference(of: Callable[[Tensor, int], Tensor], target: int, against: int | None) -> Callable[[Tensor], Tensor]:
    return lambda logits: of(logits, target) - (0 if against is None else of(logits, against))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("against", [None, 3])
def test_gradient(network: nn.Module, score: str, against: int | None) -> None:
    of = SCORES[score]
    found = run(network, "gradient", NoParameters(), Objective((1, 4), against, score)).values
    for target, values in zip((1, 4), found, strict=True):
        expected = reference_gradient(network, X, difference(of, target, against))
        torch.testing.assert_close(values[None], expected, rtol=1e-6, atol=1e-12)


def test_the_gradient_of_the_predicted_class_is_that_of_the_largest_logit(network: nn.Module) -> None:
    found = run(network, "gradient", NoParameters(), Objective((Rank(0),))).values
    torch.testing.assert_close(found, reference_gradient(network, X, torch.max), rtol=1e-6, atol=1e-12)


def test_gradient_x_input(network: nn.Module) -> None:
    found = run(network, "gradient_x_input", NoParameters(), Objective((2,))).values
    torch.testing.assert_close(found, X * reference_gradient(network, X, lambda y: y[2]), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("samples", [1, CHUNK, CHUNK + 5])
def test_smooth_grad(network: nn.Module, samples: int) -> None:
    p = SmoothGrad(samples=samples, noise=0.2, seed=7)
    found = run(network, "smooth_grad", p, Objective((2,))).values
    generator = torch.Generator().manual_seed(7)
    counts = [min(CHUNK, samples - start) for start in range(0, samples, CHUNK)]
    noise = torch.cat([torch.randn(n, *X.shape[1:], generator=generator, dtype=X.dtype) for n in counts])
    noisy = X + 0.2 * (X.max() - X.min()) * noise
    expected = reference_gradient(network, noisy, lambda y: y[2]).mean(0, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


def test_smooth_grad_keeps_the_class_that_the_clean_picture_predicts() -> None:
    network = made(Modules, dtype=torch.float64)
    predicted = int(network(X).argmax())
    p = SmoothGrad(samples=20, noise=5.0)
    found = run(network, "smooth_grad", p, Objective((Rank(0),))).values
    torch.testing.assert_close(found, run(network, "smooth_grad", p, Objective((predicted,))).values)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("baseline", ["zero", "black", "white", "blur", "uniform"])
def test_integrated_gradients_are_complete(network: nn.Module, baseline: str, score: str) -> None:
    p = IntegratedGradients(steps=300, baseline=baseline)
    maps = run(network, "integrated_gradients", p, Objective((2, 0), 4, score))
    for found in maps.findings:
        assert abs(found["completeness_gap"]) < 2e-3 * max(abs(found["score_difference"]), 0.05)


def test_integrated_gradients_of_one_step_use_the_gradient_halfway(network: nn.Module) -> None:
    found = run(network, "integrated_gradients", IntegratedGradients(steps=1), Objective((2,))).values
    torch.testing.assert_close(found, X * reference_gradient(network, X / 2, lambda y: y[2]), rtol=1e-6, atol=1e-12)


def test_baselines_have_the_colour_of_their_name() -> None:
    network = made(Modules, dtype=torch.float64)  # pixels in 0-1 are normalised with mean 0.5 and std 0.25
    one_step = {
        name: run(network, "integrated_gradients", IntegratedGradients(1, name), Objective((2,))).values
        for name in ("black", "white", "zero")
    }
    for name, start in (("black", -2.0), ("white", 2.0), ("zero", 0.0)):
        expected = (X - start) * reference_gradient(network, (X + start) / 2, lambda y: y[2])
        torch.testing.assert_close(one_step[name], expected, rtol=1e-6, atol=1e-12)


def reference_grad_cam(network: nn.Module, x: Tensor, target: int) -> Tensor:
    """Return Grad-CAM of `second` in `Modules`, with its weights in closed form."""
    assert isinstance(network, Modules)
    activation = network.second(network.first(x).clamp_min(0))
    grad = (activation > 0) * network.head.weight[target].view(1, -1, 1, 1) / activation[0, 0].numel()
    cam = (grad.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).clamp_min(0)
    return nn.functional.interpolate(cam, size=x.shape[2:], mode="bilinear")


@pytest.mark.parametrize("make", [Modules, InPlace])
def test_grad_cam(make: Callable[[], nn.Module]) -> None:
    found = run(made(make, dtype=torch.float64), "grad_cam", Cam("second"), Objective((0, 3))).values
    for target, values in zip((0, 3), found, strict=True):
        expected = reference_grad_cam(made(Modules, dtype=torch.float64), X, target)
        torch.testing.assert_close(values[None], expected, rtol=1e-6, atol=1e-12)
    assert found.any()


def test_grad_cam_of_a_transformer_lies_on_its_patches() -> None:
    found = run(made(Tokens, dtype=torch.float64), "grad_cam", Cam("norm"), Objective((1,))).values
    assert found.shape == (1, 1, 16, 16)


CAPTUM_METHODS: list[tuple[str, object]] = [
    ("gradient", NoParameters()),
    ("gradient_x_input", NoParameters()),
    ("guided_backprop", NoParameters()),
    ("deconvolution", NoParameters()),
    ("integrated_gradients", IntegratedGradients(steps=20)),
    ("grad_cam", Cam("second")),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "parameters"), CAPTUM_METHODS)
def test_maps_equal_those_of_captum(method: str, parameters: object) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")

    class Once(Modules):  # Captum's guided methods want a ReLU module of its own for each use
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.first(x))
            return self.head(self.again(self.second(x)).mean((2, 3)))

    network = made(Once, dtype=torch.float64)
    theirs: dict[str, Callable[[], Tensor]] = {
        "gradient": lambda: attr.Saliency(network).attribute(X.clone(), target=2, abs=False),
        "gradient_x_input": lambda: attr.InputXGradient(network).attribute(X.clone(), target=2),
        "guided_backprop": lambda: attr.GuidedBackprop(network).attribute(X.clone(), target=2),
        "deconvolution": lambda: attr.Deconvolution(network).attribute(X.clone(), target=2),
        "integrated_gradients": lambda: attr.IntegratedGradients(network).attribute(X.clone(), target=2, n_steps=20),
        "grad_cam": lambda: nn.functional.interpolate(
            attr.LayerGradCam(network, network.get_submodule("second")).attribute(
                X.clone(), target=2, relu_attributions=True
            ),
            size=X.shape[2:],
            mode="bilinear",
        ),
    }
    found = run(network, method, parameters, Objective((2,))).values
    torch.testing.assert_close(found, theirs[method]().detach(), rtol=1e-5, atol=1e-12)


@pytest.fixture(scope="module")
def png() -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_of_an_answer_give_the_same_map_again(method: str, png: bytes) -> None:
    networks = classifier(made(Modules)), classifier(made(Tokens))
    explainer = Explainer(next(network for network in networks if unsupported_reason(method, network) is None))
    reduce = "none" if METHODS[method].shows is not Shows.SALIENCY else "sum"
    data = None if METHODS[method].shows is Shows.INPUT else png
    first = explainer.explain(data, method=method, target=1, reduce=reduce)
    parameters: dict[str, Any] = dict(first.parameters)
    again = explainer.explain(data, method=method, target=1, **parameters)
    np.testing.assert_array_equal(first.maps[0].saliency, again.maps[0].saliency)
    assert first.maps[0].saliency.any()


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "blur_integrated_gradients", "guided_integrated_gradients", "deep_lift"]
)
def test_classes_are_resolved_from_the_picture_and_not_from_its_baseline(method: str, png: bytes) -> None:
    explainer = Explainer(classifier(made(Modules)))
    there = int(explainer.classifier.forward(torch.zeros(1, 3, 16, 16)).argmax())
    here = explainer.explain(png, render="none").predictions[0].index
    against = there if there != here else (here + 1) % 5
    explanation = explainer.explain(png, method=method, target="predicted", against=against)
    assert explanation.maps[0].target.index == here

"""Mean, mean square and variance of gradients of noisy copies, compared with their formulas and Captum."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from tests.methods.test_methods import SCORES, X, difference, reference_gradient, run
from tests.networks import Functional, Modules, Tokens, made
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.methods.base import CHUNK
from torchserve_saliency.methods.gradient.smooth_grad import SmoothGrad, _Moments, noisy_copies

SAMPLES = CHUNK + 5
P = SmoothGrad(samples=SAMPLES, noise=0.2, seed=7)


class Linear(nn.Module):
    """Logits that are a linear map of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def copies(p: SmoothGrad = P) -> Tensor:
    """Return the noisy copies of X that the methods draw."""
    return torch.cat(list(noisy_copies(X, p.samples, p.noise, torch.Generator().manual_seed(p.seed))))


@contextmanager
def injected(noise: Tensor) -> Iterator[None]:
    """Make Captum's NoiseTunnel use this noise [n, C, H, W]."""
    with mock.patch("torch.normal", lambda *args, **kwargs: noise.view(args[1].shape)):
        yield


@pytest.mark.parametrize("make", [Modules, Tokens])
def test_smooth_grad_squared_is_the_mean_of_squares(make: type[nn.Module]) -> None:
    network = made(make, dtype=torch.float64)
    found = run(network, "smooth_grad_squared", P, Objective((2, 0), 4)).values
    for target, values in zip((2, 0), found, strict=True):
        grads = reference_gradient(network, copies(), difference(SCORES["logit"], target, 4))
        torch.testing.assert_close(values, grads.square().mean(0), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("make", [Modules, Tokens])
def test_var_grad_is_the_variance_for_every_target(make: type[nn.Module]) -> None:
    network = made(make, dtype=torch.float64)
    found = run(network, "var_grad", P, Objective((2, 0), 4)).values
    for target, values in zip((2, 0), found, strict=True):
        grads = reference_gradient(network, copies(), difference(SCORES["logit"], target, 4))
        torch.testing.assert_close(values, grads.var(0, correction=0), rtol=1e-9, atol=1e-15)
    assert found.any()


def test_the_gradient_of_a_linear_network_does_not_vary() -> None:
    network = made(Linear, dtype=torch.float64)
    gradient = run(network, "smooth_grad", P, Objective((2,))).values
    assert run(network, "var_grad", P, Objective((2,))).values.max() < 1e-30
    squared = run(network, "smooth_grad_squared", P, Objective((2,))).values
    torch.testing.assert_close(squared, gradient.square())


def test_a_variance_far_below_the_mean_is_accurate() -> None:
    grads = 1000 + 1e-3 * torch.randn(2, 40, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [_Moments.of(part.float()) for part in grads.split(16, dim=1)]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    exact = grads.float().double().var(1, correction=0)
    torch.testing.assert_close(merged.squares.double() / 40, exact, rtol=0.1, atol=0)
    naive = grads.float().square().mean(1) - grads.float().mean(1).square()
    assert ((naive.double() - exact).abs() / exact).max() > 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "kind"),
    [("smooth_grad", "smoothgrad"), ("smooth_grad_squared", "smoothgrad_sq"), ("var_grad", "vargrad")],
)
def test_maps_equal_those_of_captum_for_the_same_noise(method: str, kind: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    network = made(Functional, dtype=torch.float64)
    tunnel = attr.NoiseTunnel(attr.Saliency(network))
    with injected(copies() - X):
        theirs = tunnel.attribute(X.clone(), target=2, nt_type=kind, nt_samples=SAMPLES, stdevs=1.0, abs=False)
    found = run(network, method, P, Objective((2,))).values
    torch.testing.assert_close(found, theirs.detach(), rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))

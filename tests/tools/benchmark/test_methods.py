"""The libraries' maps agree with the engine's, and the report has one row per method and library."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from tests.networks import CLASSES, Flat, Tokens, classifier, made
from tests.test_explainer import picture
from tools.benchmark.comparison import ENGINE
from tools.benchmark.equal_work import DIFFERENCES, SETTINGS, library_methods, settings
from tools.benchmark.methods import (
    compare_maps,
    correlation,
    count_passes,
    forward_run,
    supported_methods,
    work_by_library,
)
from tools.benchmark.networks import Network
from tools.benchmark.plan import Bench, Plan
from tools.benchmark.reference_implementations import CAPTUM, GRAD_CAM
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods import METHODS

COMPARED = [name for name in METHODS if library_methods(name)]
MORE_SAMPLES = {  # enough samples for methods with random numbers to agree
    "smooth_grad": {"samples": 200},
    "smooth_grad_squared": {"samples": 200},
    "var_grad": {"samples": 500},
    "gradient_shap": {"samples": 200},
    "lime": {"samples": 300, "segments": 9, "superpixels": "grid"},
    "kernel_shap": {"samples": 500, "segments": 8, "superpixels": "grid"},
    "shapley_value_sampling": {"samples": 60, "segments": 9, "superpixels": "grid"},
}


class Separate(nn.Module):
    """A network that Captum supports: ReLUs and the mean are modules, and the last spatial layer is not negative."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.second, self.two = nn.Conv2d(8, 24, 3, padding=1, stride=2), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.second(self.one(self.first(x))))
        return self.head(self.pool(x).flatten(1))


def bench(
    tmp_path: Path, make: type[nn.Module] = Separate, heavy: bool = False, requested: tuple[str, ...] | None = None
) -> Bench:
    """Return a bench with a small network."""
    file = tmp_path / "picture.png"
    file.write_bytes(picture(0))
    plan = Plan(("net",), ("methods",), requested, (1, 4, 8, 16), 2, 2, torch.device("cpu"), file)
    explainer = Explainer(classifier(made(make)))
    return Bench(plan, "net", Network("net", heavy=heavy), tmp_path, explainer, explainer.classifier)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", COMPARED)
def test_the_libraries_maps_agree_with_the_engines(tmp_path: Path, method: str) -> None:
    if method in ("lime", "kernel_shap"):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    with mock.patch(
        "tools.benchmark.methods.settings", lambda name, spec: MORE_SAMPLES.get(name) or settings(name, spec)
    ):
        agreement = compare_maps(work_by_library(bench(tmp_path), made(Separate), method, 2))
    assert not agreement.failures
    assert set(agreement.correlations) == {library.package for library in library_methods(method)}
    for library, value in agreement.correlations.items():
        assert value > (0.95 if method in MORE_SAMPLES else 0.99), library


def test_every_method_of_captum_is_compared() -> None:
    assert {name for name in COMPARED if CAPTUM in (r.package for r in library_methods(name))} == {
        "gradient",
        "gradient_x_input",
        "guided_backprop",
        "deconvolution",
        "smooth_grad",
        "smooth_grad_squared",
        "var_grad",
        "integrated_gradients",
        "gradient_shap",
        "deep_lift",
        "lrp",
        "grad_cam",
        "guided_grad_cam",
        "occlusion",
        "feature_ablation",
        "lime",
        "kernel_shap",
        "shapley_value_sampling",
    }
    assert [r.package for r in library_methods("grad_cam")] == [CAPTUM, GRAD_CAM]
    assert set(SETTINGS) <= set(METHODS)
    assert set(DIFFERENCES) <= set(COMPARED)


def test_only_methods_that_the_network_supports_are_measured(tmp_path: Path) -> None:
    assert {"occlusion", "feature_maps"} <= set(supported_methods(bench(tmp_path)))
    assert not {"generic_attention"} & set(supported_methods(bench(tmp_path)))
    assert not {"grad_cam", "guided_backprop"} & set(supported_methods(bench(tmp_path, Flat)))
    assert supported_methods(bench(tmp_path, requested=("lrp", "gradient", "attention_rollout"))) == ["gradient", "lrp"]


def test_a_heavy_network_is_measured_with_methods_of_few_passes(tmp_path: Path) -> None:
    given = bench(tmp_path, Separate, heavy=True)
    chosen = supported_methods(given)
    assert {"gradient", "grad_cam", "eigen_cam"} <= set(chosen)
    assert not {"smooth_grad", "occlusion", "score_cam"} & set(chosen)
    assert count_passes("smooth_grad", given.explainer.classifier) == 33


def test_only_the_engine_supports_a_layer_of_tokens(tmp_path: Path) -> None:
    assert list(work_by_library(bench(tmp_path, Tokens), made(Tokens), "layer_cam", 1)) == [ENGINE]


def test_a_run_of_forward_passes_returns_the_median_time(tmp_path: Path) -> None:
    with mock.patch("tools.benchmark.methods.time_run", side_effect=[5.0, 1.0, 2.0, 3.0, 4.0]):
        assert forward_run(bench(tmp_path), 2)() == 3.0


def test_the_correlation_ignores_scale_and_channels() -> None:
    maps = torch.randn(2, 1, 4, 4)
    assert correlation(maps, 3 * maps[:, 0] + 2) == pytest.approx(1)
    assert correlation(maps, -maps.expand(2, 3, 4, 4)) == pytest.approx(-1)
    assert abs(correlation(torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64))) < 0.1


def test_occlusion_windows_cover_the_input() -> None:
    assert settings("occlusion", InputSpec()) == {"window": 56, "stride": 56}
    assert settings("gradient", InputSpec()) == {}

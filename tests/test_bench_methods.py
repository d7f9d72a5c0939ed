"""The libraries are given our methods' work: they find about our maps, and the report has a row a method."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from saliency.explainer import Explainer
from saliency.image import InputSpec
from saliency.methods import METHODS
from scripts.bench.beside import ENGINE
from scripts.bench.equal import DIFFERS, SETTINGS, rivals, settings
from scripts.bench.figures import Figure
from scripts.bench.methods import correlation, forward, look, methods, passes, taken, works
from scripts.bench.networks import Network
from scripts.bench.plan import Bench, Plan
from scripts.bench.report import as_json, markdown
from scripts.bench.rivals import CAPTUM, GRAD_CAM
from scripts.bench.table import over_forward
from tests.networks import CLASSES, Flat, Tokens, classifier, made
from tests.test_explainer import picture

COMPARED = [name for name in METHODS if rivals(name)]
MORE = {  # where each draws samples of its own, enough of them to agree
    "smooth_grad": {"samples": 200},
    "smooth_grad_squared": {"samples": 200},
    "var_grad": {"samples": 500},
    "gradient_shap": {"samples": 200},
    "lime": {"samples": 300, "segments": 9, "superpixels": "grid"},
    "kernel_shap": {"samples": 500, "segments": 8, "superpixels": "grid"},
    "shapley_value_sampling": {"samples": 60, "segments": 9, "superpixels": "grid"},
}


class Separate(nn.Module):
    """What Captum wants: each ReLU a module of its own, the mean one too; the last layer with a grid never negative."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.second, self.two = nn.Conv2d(8, 24, 3, padding=1, stride=2), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.second(self.one(self.first(x))))
        return self.head(self.pool(x).flatten(1))


def bench(
    tmp_path: Path, make: type[nn.Module] = Separate, heavy: bool = False, asked: tuple[str, ...] | None = None
) -> Bench:
    """Return a bench of a small network, as the sections are given one."""
    file = tmp_path / "picture.png"
    file.write_bytes(picture(0))
    plan = Plan(("net",), ("methods",), asked, (1, 4, 8, 16), 2, 2, torch.device("cpu"), file)
    explainer = Explainer(classifier(made(make)))
    return Bench(plan, "net", Network("net", heavy=heavy), tmp_path, explainer, explainer.classifier)


def measured(given: Bench, make: type[nn.Module] = Separate) -> list[Figure]:
    """Return the section's figures."""
    with mock.patch("scripts.bench.methods.plain_network", return_value=made(make)):
        return list(methods(given))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", COMPARED)
def test_a_library_that_has_the_method_finds_about_the_engines_map(tmp_path: Path, method: str) -> None:
    if method in ("lime", "kernel_shap"):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    with mock.patch("scripts.bench.methods.settings", lambda name, spec: MORE.get(name) or settings(name, spec)):
        known = look(works(bench(tmp_path), made(Separate), method, 2))
    assert not known.failures
    assert set(known.agreements) == {rival.package for rival in rivals(method)}
    for library, found in known.agreements.items():
        assert found > (0.95 if method in MORE else 0.99), library


def test_methods_that_both_have_are_compared() -> None:
    assert {name for name in COMPARED if CAPTUM in (r.package for r in rivals(name))} == {
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
    assert [r.package for r in rivals("grad_cam")] == [CAPTUM, GRAD_CAM]
    assert set(SETTINGS) <= set(METHODS)
    assert set(DIFFERS) <= set(COMPARED)


def test_the_report_has_a_row_a_method_and_library(tmp_path: Path) -> None:
    asked = ("gradient", "rise", "grad_cam", "occlusion")
    figures = measured(bench(tmp_path, asked=asked))
    text = markdown({"cores": 2}, figures)
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")][2:]
    assert sorted(rows) == [
        ["| grad_cam", CAPTUM],
        ["| grad_cam", GRAD_CAM],
        ["| gradient", CAPTUM],
        ["| occlusion", CAPTUM],
        ["| rise", ""],
    ]
    assert "engine / forward, 1 | library / forward, 1 | engine / library, 1 | engine / forward, 8" in text
    assert "| samples 16 |" in text
    assert "| window 4, stride 4 |" in text
    entries = {entry["name"]: entry for entry in json.loads(as_json({}, figures))["figures"]}
    assert len(entries) == len(figures)
    assert entries[over_forward("rise", ENGINE, 8)]["note"] == "samples 16"
    assert all(len(entries[over_forward(method, ENGINE, size)]["values"]) == 2 for method in asked for size in (1, 8))


def test_a_ratio_is_of_the_times_of_its_round(tmp_path: Path) -> None:
    found = {figure.name: figure.values for figure in measured(bench(tmp_path, asked=("gradient",)))}
    ours, theirs, passed = (found[f"gradient, batch of 8: {name}"] for name in (ENGINE, CAPTUM, "forward"))
    over, beside = found[over_forward("gradient", ENGINE, 8)], found["gradient, batch of 8: engine / Captum"]
    assert over == pytest.approx([a / b for a, b in zip(ours, passed, strict=True)])
    assert beside == pytest.approx([a / b for a, b in zip(ours, theirs, strict=True)])


def test_a_library_that_fails_is_said_to_and_the_engine_is_measured(tmp_path: Path) -> None:
    class Broken(Separate):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("a module is used twice\nand more")

    given = bench(tmp_path, asked=("deep_lift",))
    text = markdown({"cores": 2}, measured(given, Broken))
    (row,) = [line for line in text.splitlines() if line.startswith("| deep_lift |")]
    assert row.startswith("| deep_lift |  | ")
    assert row.endswith("| Captum fails: AssertionError: a module is used twice |")


def test_the_methods_are_those_that_the_network_takes(tmp_path: Path) -> None:
    assert {"occlusion", "feature_maps"} <= set(taken(bench(tmp_path)))
    assert not {"generic_attention"} & set(taken(bench(tmp_path)))
    assert not {"grad_cam", "guided_backprop"} & set(taken(bench(tmp_path, Flat)))
    assert taken(bench(tmp_path, asked=("lrp", "gradient", "attention_rollout"))) == ["gradient", "lrp"]


def test_a_heavy_network_is_measured_with_methods_of_few_passes(tmp_path: Path) -> None:
    given = bench(tmp_path, Separate, heavy=True)
    chosen = taken(given)
    assert {"gradient", "grad_cam", "eigen_cam"} <= set(chosen)
    assert not {"smooth_grad", "occlusion", "score_cam"} & set(chosen)
    assert passes("smooth_grad", given.explainer.classifier) == 33


def test_a_layer_of_tokens_is_the_engines_alone(tmp_path: Path) -> None:
    assert list(works(bench(tmp_path, Tokens), made(Tokens), "layer_cam", 1)) == [ENGINE]


def test_one_run_of_forward_passes_tells_the_time_of_one(tmp_path: Path) -> None:
    with mock.patch("scripts.bench.methods.timed", side_effect=[5.0, 1.0, 2.0, 3.0, 4.0]):
        assert forward(bench(tmp_path), 2)() == 3.0


def test_maps_are_correlated_whatever_their_scale_and_channels() -> None:
    maps = torch.randn(2, 1, 4, 4)
    assert correlation(maps, 3 * maps[:, 0] + 2) == pytest.approx(1)
    assert correlation(maps, -maps.expand(2, 3, 4, 4)) == pytest.approx(-1)
    assert abs(correlation(torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64))) < 0.1


def test_windows_cover_every_input() -> None:
    assert settings("occlusion", InputSpec()) == {"window": 56, "stride": 56}
    assert settings("gradient", InputSpec()) == {}

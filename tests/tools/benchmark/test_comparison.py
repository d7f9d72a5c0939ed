"""The libraries compute the engine's maps; if they do not, the benchmark raises an error."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from tests.archives import unpacked
from tests.networks import SIZE, Functional, Tokens, classifier, made
from tests.test_explainer import picture
from tools.benchmark.comparison import ENGINE, PREPARED, as_runs, check_maps, work_by_library
from tools.benchmark.memory import MemoryTask, measure_peak
from tools.benchmark.memory_probe import main, peak_bytes
from tools.benchmark.reference_implementations import CAPTUM, GRAD_CAM, LIBRARY_METHODS, PARAMETERS, SINGLE
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.classifier import load_classifier


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Functional)))


@pytest.mark.parametrize("method", LIBRARY_METHODS)
def test_the_libraries_compute_the_engines_maps(explainer: Explainer, method: str) -> None:
    found = work_by_library(explainer, made(Functional), 4, picture(0), method, 2)
    libraries = [library.package for library in LIBRARY_METHODS[method]]
    assert set(found) == {ENGINE, *libraries, *(name + PREPARED for name in libraries)}
    check_maps(found, method)
    for maps in (found[ENGINE](), found[CAPTUM]()):
        assert maps.shape[0] == 2
        assert maps.shape[2:] == (SIZE, SIZE)


def test_different_maps_are_an_error(explainer: Explainer) -> None:
    found = work_by_library(explainer, made(Functional, seed=1), 4, picture(0), "gradient", 1)
    with pytest.raises(ValueError, match="Captum computes other maps of method gradient"):
        check_maps(found, "gradient")


def test_the_compared_maps_are_not_zero(explainer: Explainer) -> None:
    for method in LIBRARY_METHODS:
        assert float(work_by_library(explainer, made(Functional), 4, picture(0), method, 1)[ENGINE]().abs().max()) > 0


@pytest.mark.parametrize("value", [float("nan"), 1.0])
def test_invalid_maps_are_an_error(value: float) -> None:
    found = {ENGINE: lambda: torch.zeros(1, 1, 4, 4), CAPTUM: lambda: torch.full((1, 1, 4, 4), value)}
    with pytest.raises(ValueError, match="other maps"):
        check_maps(found, "gradient")


def test_only_the_engine_supports_a_layer_of_tokens() -> None:
    explainer = Explainer(classifier(made(Tokens)))
    assert list(work_by_library(explainer, made(Tokens), 4, picture(0), "grad_cam", 1)) == [ENGINE]
    assert CAPTUM in work_by_library(explainer, made(Tokens), 4, picture(0), "gradient", 1)


def test_no_hooks_or_gradients_remain(explainer: Explainer) -> None:
    plain = made(Functional)
    for name, run in as_runs(work_by_library(explainer, plain, 4, picture(0), "grad_cam", 1)).items():
        assert run() is None, name
    assert not any(module._forward_hooks for module in plain.modules())
    assert all(parameter.grad is None for parameter in plain.parameters())


def test_every_method_has_parameters_and_libraries() -> None:
    assert set(PARAMETERS) == set(LIBRARY_METHODS) >= set(SINGLE)
    assert all(library_methods[0].package == CAPTUM for library_methods in LIBRARY_METHODS.values())
    assert [library.package for library in LIBRARY_METHODS["grad_cam"]] == [CAPTUM, GRAD_CAM]


def test_the_peak_is_the_increase_of_memory() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs: the peak cannot be reset here")
    held = torch.ones(64 << 20, dtype=torch.uint8)
    taken, total = peak_bytes(lambda: torch.ones(256 << 20, dtype=torch.uint8), torch.device("cpu"))
    tolerance = 2 << 20  # the kernel updates its page counts in batches
    assert (256 << 20) - tolerance <= taken < (256 + 48) << 20
    assert total >= taken + held.nbytes - tolerance


def test_a_peak_is_measured_in_a_separate_process(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture(0))
    task = MemoryTask(unpacked(tmp_path / "model"), file, "gradient", 4, 8, torch.device("cpu"))
    found = measure_peak(task, ENGINE)
    assert 0 < found.taken < found.total


def test_the_error_of_a_failed_process_is_reported(tmp_path: Path) -> None:
    task = MemoryTask(tmp_path, tmp_path / "none.png", "gradient", 4, 8, torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"Captum failed at gradient.*no archive"):
        measure_peak(task, CAPTUM)


def test_a_library_uses_the_plain_network(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture(0))
    arguments = [str(unpacked(tmp_path / "model")), str(file), "gradient", CAPTUM, "4", "2", "cpu"]
    with (
        mock.patch("tools.benchmark.memory_probe.load_classifier", wraps=load_classifier) as loaded,
        mock.patch("builtins.print") as printed,
    ):
        main(arguments)
    assert loaded.call_args.kwargs == {"fold": False, "channels_last": False}
    assert set(json.loads(printed.call_args.args[0])) == {"taken", "total"}

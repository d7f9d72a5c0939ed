"""The libraries are called so that they find our maps; where they would not, the benchmark says so."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from saliency.explainer import Explainer
from saliency.model import load_classifier
from scripts.bench.beside import ENGINE, PREPARED, check, runs, works
from scripts.bench.memory import Task, peak
from scripts.bench.peak import main, peak_bytes
from scripts.bench.rivals import CAPTUM, GRAD_CAM, PARAMETERS, RIVALS, SINGLE
from tests.archives import unpacked
from tests.networks import SIZE, Functional, Tokens, classifier, made
from tests.test_explainer import picture


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Functional)))


@pytest.mark.parametrize("method", RIVALS)
def test_the_libraries_find_the_engines_maps(explainer: Explainer, method: str) -> None:
    found = works(explainer, made(Functional), 4, picture(0), method, 2)
    libraries = [rival.package for rival in RIVALS[method]]
    assert set(found) == {ENGINE, *libraries, *(name + PREPARED for name in libraries)}
    check(found, method)
    for maps in (found[ENGINE](), found[CAPTUM]()):
        assert maps.shape[0] == 2
        assert maps.shape[2:] == (SIZE, SIZE)


def test_other_maps_are_an_error(explainer: Explainer) -> None:
    found = works(explainer, made(Functional, seed=1), 4, picture(0), "gradient", 1)
    with pytest.raises(ValueError, match="Captum finds other maps of method gradient"):
        check(found, "gradient")


def test_the_maps_that_are_compared_are_not_zero(explainer: Explainer) -> None:
    for method in RIVALS:
        assert float(works(explainer, made(Functional), 4, picture(0), method, 1)[ENGINE]().abs().max()) > 0


@pytest.mark.parametrize("value", [float("nan"), 1.0])
def test_maps_that_are_none_are_an_error(value: float) -> None:
    found = {ENGINE: lambda: torch.zeros(1, 1, 4, 4), CAPTUM: lambda: torch.full((1, 1, 4, 4), value)}
    with pytest.raises(ValueError, match="other maps"):
        check(found, "gradient")


def test_a_layer_of_tokens_is_the_engines_alone() -> None:
    explainer = Explainer(classifier(made(Tokens)))
    assert list(works(explainer, made(Tokens), 4, picture(0), "grad_cam", 1)) == [ENGINE]
    assert CAPTUM in works(explainer, made(Tokens), 4, picture(0), "gradient", 1)


def test_no_library_leaves_a_hook_or_a_gradient(explainer: Explainer) -> None:
    plain = made(Functional)
    for name, run in runs(works(explainer, plain, 4, picture(0), "grad_cam", 1)).items():
        assert run() is None, name
    assert not any(module._forward_hooks for module in plain.modules())
    assert all(parameter.grad is None for parameter in plain.parameters())


def test_methods_parameters_and_libraries_go_together() -> None:
    assert set(PARAMETERS) == set(RIVALS) >= set(SINGLE)
    assert all(rivals[0].package == CAPTUM for rivals in RIVALS.values())
    assert [rival.package for rival in RIVALS["grad_cam"]] == [CAPTUM, GRAD_CAM]


def test_the_peak_is_what_a_work_takes_beyond_what_was_held() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc/self/clear_refs: the peak cannot begin anew here")
    held = torch.ones(64 << 20, dtype=torch.uint8)
    taken, total = peak_bytes(lambda: torch.ones(256 << 20, dtype=torch.uint8), torch.device("cpu"))
    near = 2 << 20  # the kernel counts pages in bundles
    assert (256 << 20) - near <= taken < (256 + 48) << 20
    assert total >= taken + held.nbytes - near


def test_a_peak_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture(0))
    task = Task(unpacked(tmp_path / "model"), file, "gradient", 4, 8, torch.device("cpu"))
    found = peak(task, ENGINE)
    assert 0 < found.taken < found.total


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    task = Task(tmp_path, tmp_path / "none.png", "gradient", 4, 8, torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"Captum failed at gradient.*no archive"):
        peak(task, CAPTUM)


def test_a_library_works_on_the_plain_network(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture(0))
    words = [str(unpacked(tmp_path / "model")), str(file), "gradient", CAPTUM, "4", "2", "cpu"]
    with (
        mock.patch("scripts.bench.peak.load_classifier", wraps=load_classifier) as loaded,
        mock.patch("builtins.print") as printed,
    ):
        main(words)
    assert loaded.call_args.kwargs == {"fold": False, "channels_last": False}
    assert set(json.loads(printed.call_args.args[0])) == {"taken", "total"}

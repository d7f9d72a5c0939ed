"""Stages are timed during a run only, and a missing stage is an error."""

from __future__ import annotations

import time
from unittest import mock

import pytest
import torch

from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tools.benchmark import bare_loop, profile
from tools.benchmark.profile import REST, STAGES, Clock, time_stages
from torchserve_saliency.engine import network_pass
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images import preprocessing
from torchserve_saliency.methods import reduction
from torchserve_saliency.responses import encoding, json_body, rendering

CPU = torch.device("cpu")


def everything() -> list[object]:
    """Return every attribute of the modules and classes in which stages are timed."""
    holders = (json_body, network_pass.Pass, preprocessing, bare_loop, reduction, rendering, encoding)
    return [value for holder in holders for value in vars(holder).values()]


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_every_stage_of_an_overlay_takes_time(explainer: Explainer) -> None:
    found = time_stages(bare_loop.engine_run(explainer, picture(0), options={"render": "overlay"}), CPU)
    assert list(found) == [*STAGES, REST]
    assert all(seconds > 0 for seconds in found.values())


def test_a_default_answer_renders_nothing(explainer: Explainer) -> None:
    found = time_stages(bare_loop.engine_run(explainer, picture(0)), CPU)
    assert found["render"] == 0
    assert found["backward"] > 0


def test_the_stages_and_the_rest_sum_to_the_whole_time(explainer: Explainer) -> None:
    start = time.perf_counter()
    found = time_stages(bare_loop.engine_run(explainer, picture(0)), CPU)
    assert sum(found.values()) <= time.perf_counter() - start


def test_the_time_of_a_nested_stage_does_not_count_for_the_outer_one() -> None:
    clock = Clock(CPU)
    inner = clock.timing("render", lambda: time.sleep(0.05))

    def outer() -> None:
        inner()
        time.sleep(0.01)

    clock.timing("encode", outer)()
    assert clock.seconds["render"] >= 0.05
    assert 0.01 <= clock.seconds["encode"] < 0.05


def test_every_function_is_restored(explainer: Explainer) -> None:
    before = everything()
    with pytest.raises(ZeroDivisionError):
        time_stages(lambda: 1 / 0, CPU)
    time_stages(bare_loop.engine_run(explainer, picture(0)), CPU)
    assert everything() == before


def test_a_missing_stage_is_an_error(explainer: Explainer) -> None:
    stages = {**STAGES, "reduce": ("torchserve_saliency.methods.reduction", "no_such_function")}
    with mock.patch.object(profile, "STAGES", stages), pytest.raises(LookupError, match=r"reduction\.no_such_function"):
        time_stages(bare_loop.engine_run(explainer, picture(0)), CPU)

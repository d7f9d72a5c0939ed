"""Stages are timed where they run, for the length of a run, and a stage that is gone is named."""

from __future__ import annotations

import time
from unittest import mock

import pytest
import torch

from saliency import body, engine, image, reduce, render, response
from saliency.explainer import Explainer
from scripts.bench import loops, profile
from scripts.bench.profile import REST, STAGES, Clock, staged
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture

CPU = torch.device("cpu")


def everything() -> list[object]:
    """Return all that stands in the modules and classes in which stages are timed."""
    places = (body, engine.Pass, image, loops, reduce, render, response)
    return [value for place in places for value in vars(place).values()]


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_every_stage_of_an_overlay_takes_time(explainer: Explainer) -> None:
    found = staged(loops.engine(explainer, picture(0), options={"render": "overlay"}), CPU)
    assert list(found) == [*STAGES, REST]
    assert all(seconds > 0 for seconds in found.values())


def test_a_default_answer_renders_nothing(explainer: Explainer) -> None:
    found = staged(loops.engine(explainer, picture(0)), CPU)
    assert found["render"] == 0
    assert found["backward"] > 0


def test_the_stages_and_the_rest_are_the_whole(explainer: Explainer) -> None:
    began = time.perf_counter()
    found = staged(loops.engine(explainer, picture(0)), CPU)
    assert sum(found.values()) <= time.perf_counter() - began


def test_a_stage_inside_another_counts_for_itself_alone() -> None:
    clock = Clock(CPU)
    inner = clock.timing("render", lambda: time.sleep(0.05))

    def outer() -> None:
        inner()
        time.sleep(0.01)

    clock.timing("encode", outer)()
    assert clock.seconds["render"] >= 0.05
    assert 0.01 <= clock.seconds["encode"] < 0.05


def test_nothing_is_left_of_the_clock(explainer: Explainer) -> None:
    before = everything()
    with pytest.raises(ZeroDivisionError):
        staged(lambda: 1 / 0, CPU)
    staged(loops.engine(explainer, picture(0)), CPU)
    assert everything() == before


def test_a_stage_that_is_gone_is_named(explainer: Explainer) -> None:
    gone = {**STAGES, "reduce": ("saliency.reduce", "no_such_function")}
    with mock.patch.object(profile, "STAGES", gone), pytest.raises(LookupError, match=r"reduce\.no_such_function"):
        staged(loops.engine(explainer, picture(0)), CPU)

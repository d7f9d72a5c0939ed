"""Inputs with absent parts: their pixels, the rows that are yielded, and parameters that do not fit the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.networks import Modules, classifier, made
from tests.perturbing import TALL, X, drive, spec_of
from tests.test_explainer import explained, picture, read
from torchserve_saliency.engine.objective import Objective
from torchserve_saliency.engine.rows import Answer
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images.preprocessing import normalise
from torchserve_saliency.images.superpixels import segments
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import CHUNK, Subject, to_picture
from torchserve_saliency.methods.perturbation.feature_ablation import FeatureAblation
from torchserve_saliency.methods.perturbation.masking import scores, superpixel_parts
from torchserve_saliency.responses.explanation import Explanation

FORWARD_ONLY = (
    *("occlusion", "rise", "feature_ablation", "lime"),
    *("kernel_shap", "shapley_value_sampling"),
)
PERTURBING = (*FORWARD_ONLY, "xrai")


def subject(x: torch.Tensor) -> Subject:
    return Subject(x, Objective((0,)), spec_of(x))


def test_present_parts_show_the_input_and_absent_parts_the_baseline() -> None:
    parts = superpixel_parts(subject(TALL), FeatureAblation(segments=6, baseline="white"))
    assert parts.count > 2
    present = torch.rand(5, parts.count, generator=torch.Generator().manual_seed(0)) < 0.5
    rows = parts.inputs(present)
    for row, there in zip(rows, present, strict=True):
        for label in range(parts.count):
            pixels = parts.labels == label
            expected = TALL[0][:, pixels] if there[label] else torch.full_like(TALL[0][:, pixels], 2.0)
            torch.testing.assert_close(row[:, pixels], expected, rtol=0, atol=0)


def test_each_pixel_gets_the_value_of_its_part() -> None:
    parts = superpixel_parts(subject(TALL), FeatureAblation(segments=6))
    values = torch.randn(2, parts.count, dtype=torch.float64)
    maps = parts.maps(values)
    assert maps.shape == (2, 1, 22, 13)
    for label in range(parts.count):
        assert (maps[:, 0, parts.labels == label] == values[:, label, None]).all()


def test_rows_are_yielded_in_chunks_and_none_without_coalitions() -> None:
    parts = superpixel_parts(subject(X), FeatureAblation(segments=6))
    counts: list[int] = []
    steps = scores(parts, Objective((0, 1)), torch.ones(2 * CHUNK + 3, parts.count, dtype=torch.bool))
    try:
        rows = next(steps)
        while True:
            assert not rows.gradient
            counts.append(len(rows.inputs))
            numbers = torch.full((2, len(rows.inputs)), float(len(counts)), dtype=torch.float64)
            rows = steps.send(Answer(torch.zeros(len(rows.inputs), 5), (), numbers))
    except StopIteration as end:
        found = end.value
    assert counts == [CHUNK, CHUNK, 3]
    assert found[1].tolist() == [1.0] * CHUNK + [2.0] * CHUNK + [3.0] * 3
    with pytest.raises(StopIteration) as none:
        next(scores(parts, Objective((0, 1)), torch.ones(0, parts.count, dtype=torch.bool)))
    assert none.value.value.shape == (2, 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_segmented_picture_is_the_one_that_was_sent(channels: int) -> None:
    pixels = torch.randint(0, 256, (1, 9, 7, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spec = spec_of(torch.zeros(1, channels, 9, 7))
    found = to_picture(Subject(normalise(pixels, spec), Objective((0,)), spec))
    torch.testing.assert_close(found, pixels[0].permute(2, 0, 1) / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("superpixels", ["slic", "grid"])
def test_the_parts_are_the_superpixels_of_the_picture(superpixels: str) -> None:
    parts = superpixel_parts(subject(TALL), FeatureAblation(segments=9, superpixels=superpixels))
    assert torch.equal(parts.labels, segments(to_picture(subject(TALL)), 9, superpixels))


@pytest.mark.parametrize("method", PERTURBING)
def test_an_input_of_one_channel_is_explained(method: str) -> None:
    from tests.perturbing import Linear

    grey = torch.randn(1, 1, 12, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = drive(
        Linear(grey), method, METHODS[method].fit(METHODS[method].parameters(), spec_of(grey)), Objective((2,)), grey
    )
    assert found.value.values.shape == (1, 1, 12, 20)
    assert found.value.values.std() > 0


@pytest.mark.parametrize("method", PERTURBING)
def test_several_targets_share_the_same_rows(method: str) -> None:
    network, parameters = made(Modules, dtype=torch.float64), METHODS[method].parameters()
    both = drive(network, method, parameters, Objective((1, 4), 3, "probability"))
    for target, values in zip((1, 4), both.value.values, strict=True):
        alone = drive(network, method, parameters, Objective((target,), 3, "probability"))
        assert alone.cost == both.cost
        torch.testing.assert_close(alone.value.values[0], values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("x", [X, TALL], ids=["square", "tall"])
@pytest.mark.parametrize("method", PERTURBING)
def test_the_cost_is_close_to_the_number_of_evaluated_rows(method: str, x: torch.Tensor) -> None:
    parameters = METHODS[method].parameters()
    cost = METHODS[method].cost(parameters, spec_of(x))
    driven = drive(made(Modules, dtype=torch.float64), method, parameters, Objective((1,)), x)
    assert 0.8 * cost.forwards <= driven.cost.forwards <= cost.forwards <= 600
    assert driven.cost.backwards == cost.backwards


@pytest.mark.parametrize(
    ("method", "sent", "option"),
    [
        ("occlusion", {"window": 17}, "window"),
        ("occlusion", {"window": 4, "stride": 5}, "stride"),
        ("occlusion", {"stride": 4}, "stride"),
        ("rise", {"cells": 17}, "cells"),
        *((method, {"segments": 257}, "segments") for method in FORWARD_ONLY[2:]),
        ("xrai", {"steps": 0}, "steps"),
        ("feature_ablation", {"superpixels": "hexagons"}, "superpixels"),
    ],
)
def test_parameters_that_do_not_fit_the_input_are_refused(method: str, sent: dict[str, object], option: str) -> None:
    answer = read(Explainer(classifier(made(Modules))), 0, {"method": method, **sent})
    assert isinstance(answer, RequestError)
    assert (answer.status, answer.option) == (400, option)


@pytest.mark.parametrize("method", FORWARD_ONLY[2:])
def test_as_many_segments_as_pixels_are_accepted(method: str) -> None:
    few: dict[str, Any] = {"samples": 3} if method != "feature_ablation" else {}
    found = Explainer(classifier(made(Modules))).explain(picture(0), method=method, segments=256, **few)
    assert found.maps[0].saliency.shape == (16, 16)


def test_the_answer_holds_the_default_window_in_pixels() -> None:
    explainer = Explainer(classifier(made(Modules)))
    first = explainer.explain(picture(0), method="occlusion")
    assert (first.parameters["window"], first.parameters["stride"]) == (3, 2)
    again = explainer.explain(picture(0), method="occlusion", window=3, stride=2)
    np.testing.assert_array_equal(first.maps[0].saliency, again.maps[0].saliency)


def test_each_map_of_a_mixed_batch_is_the_same_as_alone() -> None:
    explainer = Explainer(classifier(made(Modules)))
    batch: list[dict[str, object]] = [{"method": m, "target": "top2", "reduce": "sum"} for m in PERTURBING]
    batch.append({"method": "gradient"})
    queries = [read(explainer, seed, options) for seed, options in enumerate(batch)]
    together = explained(explainer, list(queries))
    for query, mixed in zip(queries, together, strict=True):
        (alone,) = explained(explainer, [query])
        assert isinstance(alone, Explanation)
        assert isinstance(mixed, Explanation)
        for one, other in zip(alone.maps, mixed.maps, strict=True):
            np.testing.assert_allclose(one.saliency, other.saliency, atol=1e-4 * np.abs(one.saliency).max())


@pytest.mark.parametrize("method", ["rise", "lime", "kernel_shap", "shapley_value_sampling"])
def test_another_seed_gives_another_map(method: str) -> None:
    network = made(Modules, dtype=torch.float64)
    few, many = (METHODS[method].parameters(samples=12, seed=seed) for seed in (0, 1))
    one, other = (drive(network, method, p, Objective((1,))).value.values for p in (few, many))
    assert not torch.allclose(one, other, rtol=1e-3)

"""The target `above0.5`: every class of at least that probability."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.outputs import LIMIT, explainer
from tests.test_explainer import picture
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import read_query
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import Explanation


def above(made: Explainer, threshold: float, **options: Any) -> Explanation:
    return made.explain(picture(3), target=f"above{threshold}", **options)


@pytest.mark.parametrize("form", ["a1 multi-label", "a2 one logit", "a3 softmax", "c6 squeezed"])
def test_above_is_every_class_of_that_probability_the_surest_first(tmp_path: Path, form: str) -> None:
    made = explainer(tmp_path, form)
    everything = made.explain(picture(3), target="top2", top_k=9)
    for threshold in (0.0, *(one.probability for one in everything.predictions)):
        found = above(made, threshold, reduce="sum", top_k=9)
        expected = [one for one in everything.predictions if one.probability >= threshold]
        assert [one.target.index for one in found.maps] == [one.index for one in expected]
        alone = [made.explain(picture(3), target=one.index, reduce="sum").maps[0].saliency for one in expected]
        for one, other in zip(found.maps, alone, strict=True):
            np.testing.assert_allclose(one.saliency, other, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    "spelling", ["Above 0.3", "above:.3", "above_0.3", ">0.3", ">= 0.3", "≥0.3", "above30%", "above 30 %"]
)
def test_spellings_of_a_threshold(tmp_path: Path, spelling: str) -> None:
    made = explainer(tmp_path, "a1 multi-label")
    expected, found = (made.explain(picture(3), target=each, render="none") for each in ("above0.3", spelling))
    assert [one.target for one in found.maps] == [one.target for one in expected.maps]


def test_above_is_at_most_the_limit_of_targets(tmp_path: Path) -> None:
    made = explainer(tmp_path, "a1 multi-label", limits={"max_targets": 2})
    found = above(made, 0)
    assert [one.target for one in found.maps] == list(found.predictions[:2])


def test_above_of_no_class_is_an_empty_list_of_explanations(tmp_path: Path) -> None:
    made = explainer(tmp_path, "a1 multi-label")
    for options in ({}, {"quality": True}, {"render": "overlay"}, {"render": "none"}, {"method": "grad_cam"}):
        found = above(made, 1, **options)
        body = json.loads(encode(found, LIMIT).body)
        assert body["explanations"] == []
        assert len(body["predictions"]) == 4
    for options, shape in (
        ({}, (0, 16, 16)),
        ({"reduce": "none"}, (0, 3, 16, 16)),
        ({"space": "original"}, (0, 24, 40)),
    ):
        response = encode(above(made, 1, format="npy", **options), LIMIT)
        assert np.load(io.BytesIO(response.body)).shape == shape
        assert json.loads(response.headers["Saliency-Metadata"])["explanations"] == []
    with pytest.raises(RequestError, match="no class reaches the probability") as raised:
        encode(above(made, 1, format="png"), LIMIT)
    assert (raised.value.status, raised.value.option) == (422, "target")


@pytest.mark.parametrize(
    "value", ["above", "above-0.1", "above1.5", "above0.5;1", ["above0.5", "top2"], "above1e", "above50", "above101%"]
)
def test_a_threshold_that_is_no_probability_or_not_alone_is_refused(tmp_path: Path, value: object) -> None:
    made = explainer(tmp_path, "a1 multi-label")
    with pytest.raises(RequestError) as raised:
        made.explain(picture(1), target=value)
    assert (raised.value.status, raised.value.option) == ((422 if value == "above" else 400), "target")


@pytest.mark.parametrize("method", ["activation_maximization", "feature_maps"])
def test_a_method_of_one_picture_per_request_takes_no_threshold(tmp_path: Path, method: str) -> None:
    made = explainer(tmp_path, "a1 multi-label")
    with pytest.raises(RequestError) as raised:
        made.explain(None if method == "activation_maximization" else picture(1), method=method, target="above0.5")
    assert (raised.value.status, raised.value.option) == (400, "target")


def test_too_many_classes_above_a_threshold_for_the_limits_are_refused(tmp_path: Path) -> None:
    made = explainer(tmp_path, "a1 multi-label", limits={"max_forwards": 30})
    options = {"method": "guided_integrated_gradients", "steps": 10}
    assert len(above(made, 0.999999, **options).maps) <= 2
    with pytest.raises(RequestError, match="max_forwards") as raised:
        above(made, 0, **options)
    assert raised.value.status == 400


def test_a_batch_mixes_numbers_of_targets_that_are_known_only_after_the_forward_pass(tmp_path: Path) -> None:
    made = explainer(tmp_path, "a1 multi-label")
    requests: list[dict[str, Any]] = [
        {"target": "above0.5", "reduce": "sum"},
        {"target": "above0", "method": "smooth_grad", "samples": 7},
        {"target": "above1", "method": "integrated_gradients", "steps": 4},
        {"target": "top3", "score": "probability"},
        {"target": "above0.3", "against": "runner_up", "method": "guided_backprop"},
        {"target": "above0", "quality": True},
        {"target": "above0", "render": "none"},
    ]

    def run(numbers: range) -> list[Any]:
        queries = [
            read_query(Message({"data": picture(i), **requests[i % 7]}, explain=True), made.classifier) for i in numbers
        ]
        return made.begin(queries).forward().finish()

    together = run(range(14))
    for i, one in enumerate(together):
        (alone,) = run(range(i, i + 1))
        assert isinstance(one, Explanation), one
        assert [each.target.index for each in one.maps] == [each.target.index for each in alone.maps]
        for each, other in zip(one.maps, alone.maps, strict=True):
            np.testing.assert_allclose(each.saliency, other.saliency, rtol=1e-3, atol=1e-6)
    assert {len(one.maps) for one in together} >= {0, 3, 4}

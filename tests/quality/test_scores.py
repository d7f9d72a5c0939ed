"""The quality scores of a request's maps: their cost, their equality alone and in a batch, and the random map."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.judging import X, driven, judge
from tests.networks import Modules, classifier, made
from tests.test_explainer import explained, picture, read
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Cost, Shows
from torchserve_saliency.quality.infidelity_sensitivity import COPIES, MOST_REPEATED
from torchserve_saliency.quality.scores import SCORES, quality_cost, quality_scores, random_map, rounded
from torchserve_saliency.requests.compatibility import unsupported_reason
from torchserve_saliency.requests.parsing import read_options
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency.responses.explanation import Explanation

Scores = Mapping[str, Any]
SIZES: Mapping[str, Mapping[str, object]] = {
    "smooth_grad": {"samples": 7},
    "integrated_gradients": {"steps": 5},
}


def scores_of(explainer: Explainer, options: Mapping[str, Any], seed: int = 0) -> list[Scores]:
    """Return the quality scores of each map of a picture."""
    explanation = explainer.explain(picture(seed), **options, quality=True)
    return [cast(Scores, one.quality) for one in explanation.maps]


def assert_near(one: Scores, other: Scores) -> None:
    assert list(one) == list(other)
    for name in SCORES:
        for which in ("value", "random"):
            mine, theirs = one[name][which], other[name][which]
            assert mine == (theirs if theirs is None else pytest.approx(theirs, rel=1e-3, abs=1e-6)), (name, which)


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


SCORED = [name for name in METHODS if unsupported_reason(name, classifier(made(Modules))) is None]
SCORED = [name for name in SCORED if METHODS[name].shows is Shows.SALIENCY]
EXACT = ("gradient", "guided_backprop", "smooth_grad", "integrated_gradients", "grad_cam")  # others may need less


@pytest.mark.parametrize("method", SCORED)
@pytest.mark.parametrize("target", ["predicted", "top3"])
def test_the_passes_of_all_scores_are_within_the_bound(method: str, target: str) -> None:
    class Counted(Modules):
        seen = 0

        def forward(self, x: Tensor) -> Tensor:
            self.seen += len(x)
            return super().forward(x)

    network = made(Counted)
    assert isinstance(network, Counted)
    explainer = Explainer(classifier(network))
    options: dict[str, object] = {"method": method, "target": target, **SIZES.get(method, {})}
    network.seen = 0
    found = scores_of(explainer, options)
    parsed = read_options(options, {})
    own = METHODS[method].cost(parsed.parameters, explainer.classifier.input)
    bound = quality_cost(own, len(found))
    targets = len(found)
    for quality in found:
        assert quality["forwards"] <= bound.forward_passes(targets)
        assert quality["backwards"] <= bound.backwards * targets
    assert network.seen <= own.forward_passes(targets) + bound.forward_passes(targets)
    if method in EXACT:
        assert {Cost(quality["forwards"], quality["backwards"]) for quality in found} == {bound}
        assert network.seen == own.forwards + bound.forwards


def test_the_bound_is_constant_for_methods_with_many_passes() -> None:
    """For one target: 4 curves of 16 rows and 8 rows of ROAD for two maps, 16 squares, and the method for 4 copies."""
    fixed = 2 * (4 * 16 + 8) + 16
    assert quality_cost(Cost(1, 1)) == Cost(fixed + 4, 4)
    assert quality_cost(Cost(10**9, 10**9)) == Cost(fixed)
    assert quality_cost(Cost(MOST_REPEATED, 0)) == Cost(fixed + COPIES * MOST_REPEATED)


def test_every_score_comes_with_that_of_the_random_map(explainer: Explainer) -> None:
    for quality in scores_of(explainer, {"target": "top2", "method": "integrated_gradients", "steps": 5}):
        assert list(quality) == [*SCORES, "forwards", "backwards"]
        assert all(quality[name]["value"] is not None and quality[name]["random"] is not None for name in SCORES)
    (quality,) = scores_of(explainer, {})
    assert quality["completeness_gap"] == {"value": None, "random": None}


def test_the_answer_of_a_method_with_many_passes_says_why_it_is_not_repeated(explainer: Explainer) -> None:
    (quality,) = scores_of(explainer, {"method": "smooth_grad", "samples": 100})
    assert quality["max_sensitivity"]["value"] is None
    assert "101 forward passes" in quality["max_sensitivity"]["reason"]
    assert quality["backwards"] == 0


def test_a_random_map_scores_like_the_random_map() -> None:
    network = made(Modules, dtype=torch.float64)
    random = random_map(X)
    judged = judge(network, torch.cat([random, random]))
    (found,) = driven(network, quality_scores(judged))
    for name in SCORES:
        if name != "max_sensitivity":
            assert cast(Scores, found)[name]["value"] == cast(Scores, found)[name]["random"]


def test_scores_in_a_mixed_batch_are_the_same_as_alone(explainer: Explainer) -> None:
    batch: list[dict[str, object]] = [
        {"quality": True, "target": "top2", "method": "integrated_gradients", "steps": 20, "reduce": "sum"},
        {"method": "guided_backprop"},
        {"quality": True, "method": "grad_cam", "layer": "second", "format": "npy"},
        {"quality": True, "target": 99},
        {"quality": True, "reduce": "none", "score": "probability", "against": "runner_up", "space": "original"},
    ]
    queries = [read(explainer, seed, options) for seed, options in enumerate(batch)]
    together = explained(explainer, queries)
    assert isinstance(together[3], RequestError)
    for query, outcome in zip(queries, together, strict=True):
        if isinstance(outcome, RequestError):
            continue
        (alone,) = explained(explainer, [query])
        for mine, theirs in zip(cast(Explanation, outcome).maps, cast(Explanation, alone).maps, strict=True):
            assert (mine.quality is None) == (theirs.quality is None)
            if mine.quality is not None and theirs.quality is not None:
                assert_near(mine.quality, theirs.quality)
    assert [o.maps[0].quality is None for o in together if isinstance(o, Explanation)] == [False, True, False, False]


def test_each_of_several_targets_has_the_same_scores_as_alone(explainer: Explainer) -> None:
    both = scores_of(explainer, {"target": "1;3", "method": "smooth_grad", "samples": 5})
    for target, quality in zip((1, 3), both, strict=True):
        (alone,) = scores_of(explainer, {"target": target, "method": "smooth_grad", "samples": 5})
        assert_near({**quality, "forwards": 0, "backwards": 0}, {**alone, "forwards": 0, "backwards": 0})


def test_the_map_that_is_scored_is_the_one_that_is_sent(explainer: Explainer) -> None:
    choices: list[dict[str, Any]] = [{"reduce": reduce} for reduce in ("sum", "none", "l2")]
    for options in [*choices, {"reduce": "sum", "polarity": "positive"}]:
        explanation = explainer.explain(picture(0), **options, quality=True)
        sent = explanation.maps[0].saliency
        shown = np.sort(np.abs(sent.sum(0) if sent.ndim == 3 else sent).flatten())[::-1].astype(float)
        quality = cast(Scores, explanation.maps[0].quality)
        assert quality["top_share"]["value"] == pytest.approx(shown[:26].sum() / shown.sum(), rel=1e-4)


def test_scores_are_sent_in_every_format_and_without_pictures(explainer: Explainer) -> None:
    options: dict[str, Any] = {"quality": True, "target": 1}
    found = scores_of(explainer, {"target": 1})[0]
    as_json = json.loads(encode(explainer.explain(picture(0), **options), 10**6).body)
    as_npy = encode(explainer.explain(picture(0), **options, format="npy"), 10**6)
    without_pictures = json.loads(encode(explainer.explain(picture(0), **options, render="none"), 10**6).body)
    header = json.loads(as_npy.headers["Saliency-Metadata"])
    for body in (as_json, header, without_pictures):
        assert body["explanations"][0]["quality"] == found
    assert "saliency" not in without_pictures["explanations"][0]


def test_a_score_that_is_not_finite_is_null() -> None:
    assert rounded(torch.tensor(float("nan"))) is None
    assert rounded(torch.tensor(float("inf"))) is None
    assert rounded(torch.tensor(0.123456789)) == 0.123457


def test_a_map_of_zeros_is_answered(explainer: Explainer) -> None:
    class ZeroNetwork(Modules):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 0

    (quality,) = scores_of(Explainer(classifier(made(ZeroNetwork))), {"target": 1})
    assert quality["sparseness"]["value"] is None
    assert quality["deletion_mean"]["value"] == pytest.approx(0.2)
    assert quality["max_sensitivity"]["value"] == 0


@pytest.mark.parametrize("method", ["feature_maps", "activation_maximization"])
def test_maps_that_do_not_lie_on_the_picture_are_not_scored(explainer: Explainer, method: str) -> None:
    image = picture(0) if method == "feature_maps" else None
    with pytest.raises(RequestError) as refused:
        explainer.explain(image, method=method, quality=True)
    assert (refused.value.status, refused.value.option) == (400, "quality")


def test_a_default_of_the_archive_scores_every_explanation_and_no_prediction() -> None:
    explainer = Explainer(classifier(made(Modules), quality=True))
    assert explainer.explain(picture(0)).maps[0].quality is not None
    assert explainer.explain(picture(0), quality=False).maps[0].quality is None
    (predicted,) = explained(explainer, [read(explainer, 0, {}, explain=False)])
    assert isinstance(predicted, tuple)


def test_maps_are_the_same_with_and_without_scores(explainer: Explainer) -> None:
    plain = explainer.explain(picture(0), method="smooth_grad", samples=5)
    scored = explainer.explain(picture(0), method="smooth_grad", samples=5, quality=True)
    np.testing.assert_array_equal(plain.maps[0].saliency, scored.maps[0].saliency)
    assert plain.predictions == scored.predictions

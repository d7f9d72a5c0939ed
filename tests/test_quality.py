"""Evidence beside the maps of requests: bounded, equal alone and in a batch, and beside a random map's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.explanation import Explanation
from saliency.methods import METHODS
from saliency.methods.base import Cost, Shows
from saliency.needs import lacking
from saliency.quality import SCORES, evidence, figure, quality_cost, random_values
from saliency.quality.robustness import COPIES, MOST_REPEATED
from saliency.reading import read_options
from saliency.response import encode
from tests.judging import X, driven, judge
from tests.networks import Modules, classifier, made
from tests.test_explainer import explained, picture, read

Figures = Mapping[str, Any]
SIZES: Mapping[str, Mapping[str, object]] = {
    "smooth_grad": {"samples": 7},
    "integrated_gradients": {"steps": 5},
}


def figures(explainer: Explainer, options: Mapping[str, object], seed: int = 0) -> list[Figures]:
    """Return the quality of each map of a picture."""
    explanation = explainer.explain(picture(seed), **options, quality=True)
    return [cast(Figures, one.quality) for one in explanation.maps]


def assert_near(one: Figures, other: Figures) -> None:
    assert list(one) == list(other)
    for name in SCORES:
        for which in ("value", "random"):
            mine, theirs = one[name][which], other[name][which]
            assert mine == (theirs if theirs is None else pytest.approx(theirs, rel=1e-3, abs=1e-6)), (name, which)


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


SCORED = [name for name in METHODS if lacking(name, classifier(made(Modules))) is None]
SCORED = [name for name in SCORED if METHODS[name].shows is Shows.SALIENCY]
EXACT = ("gradient", "guided_backprop", "smooth_grad", "integrated_gradients", "grad_cam")  # others may spend less


@pytest.mark.parametrize("method", SCORED)
@pytest.mark.parametrize("target", ["predicted", "top3"])
def test_the_rows_that_are_spent_are_those_of_the_bound(method: str, target: str) -> None:
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
    found = figures(explainer, options)
    asked = read_options(options, {})
    own = METHODS[method].cost(asked.parameters, explainer.classifier.input)
    bound = quality_cost(own, len(found))
    targets = len(found)
    for quality in found:
        assert quality["forwards"] <= bound.pictures(targets)
        assert quality["backwards"] <= bound.backwards * targets
    assert network.seen <= own.pictures(targets) + bound.pictures(targets)
    if method in EXACT:
        assert {Cost(quality["forwards"], quality["backwards"]) for quality in found} == {bound}
        assert network.seen == own.forwards + bound.forwards


def test_the_bound_is_a_constant_however_dear_the_method_is() -> None:
    """Of one target: four curves of 16 rows and ROAD's 8 on two maps, 16 squares, and the method on four copies."""
    fixed = 2 * (4 * 16 + 8) + 16
    assert quality_cost(Cost(1, 1)) == Cost(fixed + 4, 4)
    assert quality_cost(Cost(10**9, 10**9)) == Cost(fixed)
    assert quality_cost(Cost(MOST_REPEATED, 0)) == Cost(fixed + COPIES * MOST_REPEATED)


def test_every_score_stands_beside_the_random_maps(explainer: Explainer) -> None:
    for quality in figures(explainer, {"target": "top2", "method": "integrated_gradients", "steps": 5}):
        assert list(quality) == [*SCORES, "forwards", "backwards"]
        assert all(quality[name]["value"] is not None and quality[name]["random"] is not None for name in SCORES)
    (quality,) = figures(explainer, {})
    assert quality["completeness_gap"] == {"value": None, "random": None}


def test_a_dear_method_is_not_run_again_and_says_why(explainer: Explainer) -> None:
    (quality,) = figures(explainer, {"method": "smooth_grad", "samples": 100})
    assert quality["max_sensitivity"]["value"] is None
    assert "101 rows" in quality["max_sensitivity"]["reason"]
    assert quality["backwards"] == 0


def test_the_random_map_has_its_own_figures() -> None:
    network = made(Modules, dtype=torch.float64)
    random = random_values(X)
    judged = judge(network, torch.cat([random, random]))
    (found,) = driven(network, evidence(judged))
    for name in SCORES:
        if name != "max_sensitivity":
            assert cast(Figures, found)[name]["value"] == cast(Figures, found)[name]["random"]


def test_figures_of_a_mixed_batch_are_those_alone(explainer: Explainer) -> None:
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


def test_several_targets_have_the_figures_that_each_has_alone(explainer: Explainer) -> None:
    both = figures(explainer, {"target": "1;3", "method": "smooth_grad", "samples": 5})
    for target, quality in zip((1, 3), both, strict=True):
        (alone,) = figures(explainer, {"target": target, "method": "smooth_grad", "samples": 5})
        assert_near({**quality, "forwards": 0, "backwards": 0}, {**alone, "forwards": 0, "backwards": 0})


def test_the_map_that_is_scored_is_the_one_that_is_sent(explainer: Explainer) -> None:
    for options in ({"reduce": "sum"}, {"reduce": "sum", "polarity": "positive"}, {"reduce": "none"}, {"reduce": "l2"}):
        explanation = explainer.explain(picture(0), **options, quality=True)
        sent = explanation.maps[0].saliency
        shown = np.sort(np.abs(sent.sum(0) if sent.ndim == 3 else sent).flatten())[::-1].astype(float)
        quality = cast(Figures, explanation.maps[0].quality)
        assert quality["top_share"]["value"] == pytest.approx(shown[:26].sum() / shown.sum(), rel=1e-4)


def test_figures_are_sent_with_every_format_and_without_pictures(explainer: Explainer) -> None:
    options: dict[str, object] = {"quality": True, "target": 1}
    found = figures(explainer, {"target": 1})[0]
    as_json = json.loads(encode(explainer.explain(picture(0), **options), 10**6).body)
    as_npy = encode(explainer.explain(picture(0), **options, format="npy"), 10**6)
    blind = json.loads(encode(explainer.explain(picture(0), **options, render="none"), 10**6).body)
    header = json.loads(as_npy.headers["Saliency-Metadata"])
    for body in (as_json, header, blind):
        assert body["explanations"][0]["quality"] == found
    assert "saliency" not in blind["explanations"][0]


def test_a_figure_that_is_not_finite_is_null() -> None:
    assert figure(torch.tensor(float("nan"))) is None
    assert figure(torch.tensor(float("inf"))) is None
    assert figure(torch.tensor(0.123456789)) == 0.123457


def test_a_map_of_zeros_is_answered(explainer: Explainer) -> None:
    class Deaf(Modules):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 0

    (quality,) = figures(Explainer(classifier(made(Deaf))), {"target": 1})
    assert quality["sparseness"]["value"] is None
    assert quality["deletion_mean"]["value"] == pytest.approx(0.2)
    assert quality["max_sensitivity"]["value"] == 0


@pytest.mark.parametrize("method", ["feature_maps", "activation_maximization"])
def test_what_is_no_map_of_the_picture_is_not_scored(explainer: Explainer, method: str) -> None:
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


def test_the_maps_of_a_picture_do_not_change_for_being_scored(explainer: Explainer) -> None:
    plain = explainer.explain(picture(0), method="smooth_grad", samples=5)
    scored = explainer.explain(picture(0), method="smooth_grad", samples=5, quality=True)
    np.testing.assert_array_equal(plain.maps[0].saliency, scored.maps[0].saliency)
    assert plain.predictions == scored.predictions

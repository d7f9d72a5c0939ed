"""External maps get the same scores as maps that the engine made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest

from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture
from tools.evaluation.external_maps import score_map, score_maps
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.quality.scores import SCORES

RNG = np.random.default_rng(4)
MAPS = {name: RNG.random((SIZE, SIZE)).astype(np.float32) for name in ("one", "two")}


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


def test_a_served_map_gets_the_scores_of_its_response(explainer: Explainer) -> None:
    explanation = explainer.explain(picture(1), target=2, method="grad_cam", quality=True)
    served = cast(Mapping[str, Any], explanation.maps[0].quality)
    again = score_map(explainer, picture(1), 2, explanation.maps[0].saliency)
    assert list(again) == list(SCORES)
    assert (again["max_sensitivity"], again["completeness_gap"]) == (None, None)
    for name in set(SCORES) - {"max_sensitivity", "completeness_gap"}:
        assert again[name] == pytest.approx(served[name]["value"], rel=1e-4, abs=1e-9)


def test_a_map_scored_with_others_has_the_same_scores(explainer: Explainer) -> None:
    together = score_maps(explainer, picture(1), "predicted", MAPS, ("road", "deletion_blur"))
    for name, saliency in MAPS.items():
        alone = score_map(explainer, picture(1), "predicted", saliency, ("road", "deletion_blur"))
        assert together[name] == pytest.approx(alone, rel=1e-4)
        assert list(alone) == ["road", "deletion_blur"]


@pytest.mark.parametrize(("target", "status"), [("top2", 400), ("no such class", 422)])
def test_a_target_that_is_not_one_class_is_an_error(explainer: Explainer, target: str, status: int) -> None:
    with pytest.raises(RequestError) as error:
        score_maps(explainer, picture(1), target, MAPS)
    assert (error.value.status, error.value.option) == (status, "target")


def test_a_map_of_another_size_is_an_error(explainer: Explainer) -> None:
    with pytest.raises(ValueError, match="differ in size"):
        score_map(explainer, picture(1), 0, np.zeros((8, 8), np.float32))
